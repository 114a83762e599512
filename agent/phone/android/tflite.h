// TensorFlow Lite through its classic C API, as libtensorflowlite_c.so and libtensorflowlite_jni.so
// export it. Signatures: tflite/core/c/c_api.h, c_api_opaque.h, xnnpack_delegate.h and
// gpu/delegate.h of google-ai-edge/LiteRT v2.2.0 (Apache-2.0); run with the library of TensorFlow
// Lite 2.9.

typedef struct TfLiteModel TfLiteModel;
typedef struct TfLiteOptions TfLiteOptions;
typedef struct TfLiteInterpreter TfLiteInterpreter;
typedef struct TfLiteTensor TfLiteTensor;
typedef struct TfLiteDelegate TfLiteDelegate;
typedef struct TfLiteRunner TfLiteRunner;

typedef struct {
    float scale;
    int32_t zero;
} TfLiteQuantization;

// TfLiteXNNPackDelegateOptions grows at its end, release by release; what follows the threads is
// kept as the library filled it.
typedef struct {
    int32_t threads;
    char rest[508];
} TfLiteXnnpackOptions;

#define TFLITE_FUNCTIONS(X)                                                                        \
    X(const char *, TfLiteVersion, (void))                                                         \
    X(TfLiteModel *, TfLiteModelCreateFromFile, (const char *))                                    \
    X(TfLiteOptions *, TfLiteInterpreterOptionsCreate, (void))                                     \
    X(void, TfLiteInterpreterOptionsSetNumThreads, (TfLiteOptions *, int32_t))                     \
    X(void, TfLiteInterpreterOptionsAddDelegate, (TfLiteOptions *, TfLiteDelegate *))              \
    X(void, TfLiteInterpreterOptionsSetErrorReporter,                                              \
      (TfLiteOptions *, void (*)(void *, const char *, va_list), void *))                          \
    X(TfLiteInterpreter *, TfLiteInterpreterCreate, (const TfLiteModel *, const TfLiteOptions *))  \
    X(int, TfLiteInterpreterAllocateTensors, (TfLiteInterpreter *))                                \
    X(int, TfLiteInterpreterInvoke, (TfLiteInterpreter *))                                         \
    X(int, TfLiteInterpreterResizeInputTensor,                                                     \
      (TfLiteInterpreter *, int32_t, const int *, int32_t))                                        \
    X(int32_t, TfLiteInterpreterGetInputTensorCount, (const TfLiteInterpreter *))                  \
    X(TfLiteTensor *, TfLiteInterpreterGetInputTensor, (const TfLiteInterpreter *, int32_t))       \
    X(int32_t, TfLiteInterpreterGetOutputTensorCount, (const TfLiteInterpreter *))                 \
    X(const TfLiteTensor *, TfLiteInterpreterGetOutputTensor,                                      \
      (const TfLiteInterpreter *, int32_t))                                                        \
    X(int, TfLiteTensorType, (const TfLiteTensor *))                                               \
    X(int32_t, TfLiteTensorNumDims, (const TfLiteTensor *))                                        \
    X(int32_t, TfLiteTensorDim, (const TfLiteTensor *, int32_t))                                   \
    X(size_t, TfLiteTensorByteSize, (const TfLiteTensor *))                                        \
    X(void *, TfLiteTensorData, (const TfLiteTensor *))                                            \
    X(const char *, TfLiteTensorName, (const TfLiteTensor *))                                      \
    X(TfLiteQuantization, TfLiteTensorQuantizationParams, (const TfLiteTensor *))                  \
    X(int, TfLiteTensorCopyFromBuffer, (TfLiteTensor *, const void *, size_t))

// Not in every build or release: delegates, names of signatures, free dimensions, variables.
#define TFLITE_OPTIONAL_FUNCTIONS(X)                                                               \
    X(TfLiteXnnpackOptions, TfLiteXNNPackDelegateOptionsDefault, (void))                           \
    X(TfLiteDelegate *, TfLiteXNNPackDelegateCreate, (const TfLiteXnnpackOptions *))               \
    X(TfLiteDelegate *, TfLiteGpuDelegateV2Create, (const void *))                                 \
    X(int, TfLiteInterpreterResetVariableTensors, (TfLiteInterpreter *))                           \
    X(int32_t, TfLiteInterpreterGetSignatureCount, (const TfLiteInterpreter *))                    \
    X(const char *, TfLiteInterpreterGetSignatureKey, (const TfLiteInterpreter *, int32_t))        \
    X(TfLiteRunner *, TfLiteInterpreterGetSignatureRunner,                                         \
      (const TfLiteInterpreter *, const char *))                                                   \
    X(size_t, TfLiteSignatureRunnerGetInputCount, (const TfLiteRunner *))                          \
    X(const char *, TfLiteSignatureRunnerGetInputName, (const TfLiteRunner *, int32_t))            \
    X(TfLiteTensor *, TfLiteSignatureRunnerGetInputTensor, (TfLiteRunner *, const char *))         \
    X(size_t, TfLiteSignatureRunnerGetOutputCount, (const TfLiteRunner *))                         \
    X(const char *, TfLiteSignatureRunnerGetOutputName, (const TfLiteRunner *, int32_t))           \
    X(const TfLiteTensor *, TfLiteSignatureRunnerGetOutputTensor,                                  \
      (const TfLiteRunner *, const char *))                                                        \
    X(int, TfLiteOpaqueTensorNumDimsSignature, (const TfLiteTensor *, int32_t *))                  \
    X(int, TfLiteOpaqueTensorDimSignature, (const TfLiteTensor *, int32_t, int32_t *))

static struct {
    TFLITE_FUNCTIONS(DECLARE_SYMBOL)
    TFLITE_OPTIONAL_FUNCTIONS(DECLARE_SYMBOL)
    void *library;
    TfLiteModel *model;
    TfLiteInterpreter *interpreter;
    Quantised *inputs, *outputs;
    Tensor *declared;
    int32_t input_count, output_count;
    char said[LONGEST_LINE];  // the last error that the interpreter reported
} tflite;

static void tflite_report(void *unused, const char *format, va_list list) {
    (void)unused;
    vsnprintf(tflite.said, sizeof tflite.said, format, list);
    fprintf(stderr, "%s\n", tflite.said);
}

static const char *tflite_reason(const char *otherwise) {
    tap_stop();  // what was logged has been read then
    return *tflite.said ? tflite.said : *tap.error ? tap.error : otherwise;
}

static const char *tflite_open(const Order *order, void *library) {
    const char *absent = NULL;
#define symbols tflite
    TFLITE_FUNCTIONS(FIND_SYMBOL)
    if (absent) missing("%s has no %s", order->library, absent);
    TFLITE_OPTIONAL_FUNCTIONS(FIND_SYMBOL)
#undef symbols
    tflite.library = library;
    return tflite.TfLiteVersion();
}

// The GPU delegate comes in a library of its own, beside the runtime's.
static void tflite_find_gpu(const Order *order) {
    if (tflite.TfLiteGpuDelegateV2Create) return;
    Text path = {0};
    const char *slash = strrchr(order->library, '/');
    text_format(&path, "%.*slibtensorflowlite_gpu_jni.so",
                slash ? (int)(slash - order->library + 1) : 0, order->library);
    void *library = dlopen(path.bytes, RTLD_NOW | RTLD_LOCAL);
    void *found = library ? dlsym(library, "TfLiteGpuDelegateV2Create") : NULL;
    memcpy(&tflite.TfLiteGpuDelegateV2Create, &found, sizeof found);
    free(path.bytes);
}

// XNNPACK's options came back in registers, without a way to know how large they are, until they
// passed 16 bytes: TensorFlow Lite 2.14 (LiteRT counts from 1.0). Older ones take their defaults.
static bool tflite_has_large_xnnpack_options(void) {
    int major = 0, minor = 0;
    if (sscanf(tflite.TfLiteVersion(), "%d.%d", &major, &minor) != 2) return false;
    return major == 1 || (major == 2 && minor >= 14);
}

static TfLiteDelegate *tflite_xnnpack(const Order *order) {
    if (!tflite_has_large_xnnpack_options()) {
        if (order->threads != 1)
            refused("TensorFlow Lite %s takes XNNPACK with one thread only",
                    tflite.TfLiteVersion());
        return tflite.TfLiteXNNPackDelegateCreate(NULL);
    }
    TfLiteXnnpackOptions options = tflite.TfLiteXNNPackDelegateOptionsDefault();
    options.threads = (int32_t)order->threads;
    return tflite.TfLiteXNNPackDelegateCreate(&options);
}

static void tflite_add_delegate(const Order *order, TfLiteOptions *options) {
    bool xnnpack = tflite.TfLiteXNNPackDelegateCreate && tflite.TfLiteXNNPackDelegateOptionsDefault;
    TfLiteDelegate *delegate = NULL;
    if (!strcmp(order->delegate, "none")) return;
    if (!strcmp(order->delegate, "gpu")) tflite_find_gpu(order);
    if (xnnpack && !strcmp(order->delegate, "xnnpack")) delegate = tflite_xnnpack(order);
    else if (tflite.TfLiteGpuDelegateV2Create && !strcmp(order->delegate, "gpu"))
        delegate = tflite.TfLiteGpuDelegateV2Create(NULL);
    else no_delegate(tflite.TfLiteVersion(), order->delegate, xnnpack ? "none, xnnpack" : "none");
    if (!delegate) refused("%s", tflite_reason("the delegate could not be made"));
    tflite.TfLiteInterpreterOptionsAddDelegate(options, delegate);
}

static void tflite_declare(Quantised *tensor, const TfLiteTensor *from) {
    TfLiteQuantization quantization = tflite.TfLiteTensorQuantizationParams(from);
    Tensor *declared = &tensor->declared;
    int32_t rank = tflite.TfLiteTensorNumDims(from), free_rank = 0, length;
    const char *name = tflite.TfLiteTensorName(from);
    if (!declared->name) declared->name = copy_of(name ? name : "", name ? strlen(name) : 0);
    declare(tensor, tflite.TfLiteTensorType(from), quantization.scale, quantization.zero);
    if (rank < 0 || rank > MOST_DIMENSIONS)
        refused("tensor '%s' has %d dimensions, limit %d", declared->name, rank, MOST_DIMENSIONS);
    bool tells = tflite.TfLiteOpaqueTensorNumDimsSignature &&
                 tflite.TfLiteOpaqueTensorDimSignature &&
                 tflite.TfLiteOpaqueTensorNumDimsSignature(from, &free_rank) == 0;
    declared->rank = (size_t)rank;
    for (int32_t at = 0; at < rank; at++) {
        bool told = tells && free_rank == rank &&
                    tflite.TfLiteOpaqueTensorDimSignature(from, at, &length) == 0;
        declared->shape[at] = told ? length : tflite.TfLiteTensorDim(from, at);
    }
}

// Names of a signature of the main graph, whose tensors are the interpreter's own.
static void tflite_take_names(TfLiteRunner *runner) {
    size_t inputs = tflite.TfLiteSignatureRunnerGetInputCount(runner);
    size_t outputs = tflite.TfLiteSignatureRunnerGetOutputCount(runner);
    if (inputs != (size_t)tflite.input_count) return;
    for (int32_t at = 0; at < (int32_t)inputs; at++) {
        const char *name = tflite.TfLiteSignatureRunnerGetInputName(runner, at);
        const TfLiteTensor *tensor = tflite.TfLiteSignatureRunnerGetInputTensor(runner, name);
        for (int32_t other = 0; other < tflite.input_count; other++)
            if (tflite.TfLiteInterpreterGetInputTensor(tflite.interpreter, other) == tensor)
                tflite.inputs[other].declared.name = copy_of(name, strlen(name));
    }
    for (int32_t at = 0; at < (int32_t)outputs; at++) {
        const char *name = tflite.TfLiteSignatureRunnerGetOutputName(runner, at);
        const TfLiteTensor *tensor = tflite.TfLiteSignatureRunnerGetOutputTensor(runner, name);
        for (int32_t other = 0; other < tflite.output_count; other++)
            if (tflite.TfLiteInterpreterGetOutputTensor(tflite.interpreter, other) == tensor)
                tflite.outputs[other].declared.name = copy_of(name, strlen(name));
    }
}

static void tflite_name(void) {
    if (!tflite.TfLiteInterpreterGetSignatureCount || !tflite.TfLiteSignatureRunnerGetOutputTensor)
        return;
    int32_t count = tflite.TfLiteInterpreterGetSignatureCount(tflite.interpreter);
    for (int32_t at = 0; at < count; at++) {
        const char *key = tflite.TfLiteInterpreterGetSignatureKey(tflite.interpreter, at);
        TfLiteRunner *runner = tflite.TfLiteInterpreterGetSignatureRunner(tflite.interpreter, key);
        if (runner) tflite_take_names(runner);
    }
}

static void tflite_declare_all(void) {
    tflite.input_count = tflite.TfLiteInterpreterGetInputTensorCount(tflite.interpreter);
    tflite.output_count = tflite.TfLiteInterpreterGetOutputTensorCount(tflite.interpreter);
    tflite.inputs = take((size_t)tflite.input_count * sizeof(Quantised));
    tflite.outputs = take((size_t)tflite.output_count * sizeof(Quantised));
    tflite.declared = take((size_t)tflite.input_count * sizeof(Tensor));
    tflite_name();
    for (int32_t at = 0; at < tflite.input_count; at++) {
        tflite_declare(&tflite.inputs[at],
                       tflite.TfLiteInterpreterGetInputTensor(tflite.interpreter, at));
        tflite.declared[at] = tflite.inputs[at].declared;
    }
    for (int32_t at = 0; at < tflite.output_count; at++)
        tflite_declare(&tflite.outputs[at],
                       tflite.TfLiteInterpreterGetOutputTensor(tflite.interpreter, at));
}

static TfLiteOptions *tflite_options(const Order *order) {
    TfLiteOptions *options = tflite.TfLiteInterpreterOptionsCreate();
    tflite.TfLiteInterpreterOptionsSetErrorReporter(options, tflite_report, NULL);
    tflite.TfLiteInterpreterOptionsSetNumThreads(options, (int32_t)order->threads);
    return options;
}

static void tflite_load(const Order *order) {
    TfLiteOptions *options = tflite_options(order);
    tflite_add_delegate(order, options);
    tflite.model = tflite.TfLiteModelCreateFromFile(order->model);
    if (!tflite.model) runtime_failure(tflite_reason("the file is not a valid Flatbuffer"));
    tflite.interpreter = tflite.TfLiteInterpreterCreate(tflite.model, options);
    if (!tflite.interpreter) runtime_failure(tflite_reason("no interpreter could be made"));
    if (tflite.TfLiteInterpreterAllocateTensors(tflite.interpreter))
        runtime_failure(tflite_reason("the tensors could not be allocated"));
    tflite_declare_all();
}

static const Tensor *tflite_inputs(size_t *count) {
    *count = (size_t)tflite.input_count;
    return tflite.declared;
}

static bool tflite_has_shape(const TfLiteTensor *tensor, const Array *array) {
    if ((size_t)tflite.TfLiteTensorNumDims(tensor) != array->rank) return false;
    for (size_t at = 0; at < array->rank; at++)
        if (tflite.TfLiteTensorDim(tensor, (int32_t)at) != array->shape[at]) return false;
    return true;
}

static void tflite_bind_check(int status) {
    if (status) bad_inputs("LiteRT cannot set the inputs: %s", tflite_reason("no reason given"));
}

static void tflite_resize(const Array *arrays) {
    bool same = true;
    for (int32_t at = 0; at < tflite.input_count; at++)
        same =
            same && tflite_has_shape(tflite.TfLiteInterpreterGetInputTensor(tflite.interpreter, at),
                                     &arrays[at]);
    if (same) return;
    for (int32_t at = 0; at < tflite.input_count; at++) {
        int shape[MOST_DIMENSIONS];
        for (size_t axis = 0; axis < arrays[at].rank; axis++)
            shape[axis] = (int)arrays[at].shape[axis];
        tflite_bind_check(tflite.TfLiteInterpreterResizeInputTensor(tflite.interpreter, at, shape,
                                                                    (int32_t)arrays[at].rank));
    }
    tflite_bind_check(tflite.TfLiteInterpreterAllocateTensors(tflite.interpreter));
}

// State that an earlier inference left is cleared.
static void tflite_bind(const Array *arrays) {
    tflite_resize(arrays);
    if (tflite.TfLiteInterpreterResetVariableTensors)
        tflite_bind_check(tflite.TfLiteInterpreterResetVariableTensors(tflite.interpreter));
    for (int32_t at = 0; at < tflite.input_count; at++) {
        Array stored = to_stored(&tflite.inputs[at], &arrays[at]);
        tflite_bind_check(tflite.TfLiteTensorCopyFromBuffer(
            tflite.TfLiteInterpreterGetInputTensor(tflite.interpreter, at), stored.data,
            array_bytes(&stored)));
        free(stored.name);
        free(stored.data);
    }
}

static void tflite_invoke(void) {
    if (tflite.TfLiteInterpreterInvoke(tflite.interpreter))
        runtime_failure(tflite_reason("the inference failed"));
}

static Arrays tflite_outputs(void) {
    Arrays outputs = {take((size_t)tflite.output_count * sizeof(Array)), 0, 0};
    for (int32_t at = 0; at < tflite.output_count; at++) {
        const TfLiteTensor *tensor =
            tflite.TfLiteInterpreterGetOutputTensor(tflite.interpreter, at);
        int64_t shape[MOST_DIMENSIONS];
        int32_t rank = tflite.TfLiteTensorNumDims(tensor);
        for (int32_t axis = 0; axis < rank && axis < MOST_DIMENSIONS; axis++)
            shape[axis] = tflite.TfLiteTensorDim(tensor, axis);
        outputs.items[outputs.count++] =
            from_stored(&tflite.outputs[at], tflite.TfLiteTensorData(tensor),
                        tflite.TfLiteTensorByteSize(tensor), shape, (size_t)rank);
    }
    return outputs;
}

// -- evidence

// The C API lists no nodes, but shows a delegate the graph that it could take: one that takes
// nothing counts what was there before the delegate that is asked for, another what that one has
// left. The interpreter numbers a delegate's nodes after the graph's own. Structures:
// TfLiteDelegate and TfLiteContext of tflite/core/c/common.h, whose first members are the same
// since 2.0.
typedef struct {
    int size;
    int nodes[];
} TfLiteNodes;

typedef struct TfLiteContext {
    size_t tensor_count;
    int (*get_execution_plan)(struct TfLiteContext *, TfLiteNodes **);
} TfLiteContext;

typedef struct TfLiteWitness {
    void *unused;
    int (*prepare)(TfLiteContext *, struct TfLiteWitness *);
    void *never_called[3];
    int64_t flags;
    void *rest[8];
} TfLiteWitness;

static struct {
    int before, left;  // nodes of the graph itself; -1 where none were seen
} tflite_seen = {-1, -1};

static int tflite_see_before(TfLiteContext *context, TfLiteWitness *witness) {
    TfLiteNodes *plan;
    (void)witness;
    if (tflite_seen.before < 0 && context->get_execution_plan(context, &plan) == 0)
        tflite_seen.before = plan->size;
    return 0;
}

static int tflite_see_left(TfLiteContext *context, TfLiteWitness *witness) {
    TfLiteNodes *plan;
    (void)witness;
    if (tflite_seen.left >= 0 || context->get_execution_plan(context, &plan)) return 0;
    tflite_seen.left = 0;
    for (int at = 0; at < plan->size; at++)
        tflite_seen.left += plan->nodes[at] < tflite_seen.before;
    return 0;
}

// A second interpreter, after everything was measured.
static Placements tflite_placements(const Order *order) {
    enum { ALLOW_DYNAMIC_TENSORS = 1 };
    static TfLiteWitness before = {.prepare = tflite_see_before, .flags = ALLOW_DYNAMIC_TENSORS};
    static TfLiteWitness after = {.prepare = tflite_see_left, .flags = ALLOW_DYNAMIC_TENSORS};
    Placements placements = {.source = ""};
    char unit[32];
    if (!strcmp(order->delegate, "none") && tap.own_xnnpack)
        refused("this TensorFlow Lite applies XNNPACK even where no delegate is asked for");
    TfLiteOptions *options = tflite_options(order);
    tflite.TfLiteInterpreterOptionsAddDelegate(options, (TfLiteDelegate *)&before);
    tflite_add_delegate(order, options);
    tflite.TfLiteInterpreterOptionsAddDelegate(options, (TfLiteDelegate *)&after);
    TfLiteInterpreter *second = tflite.TfLiteInterpreterCreate(tflite.model, options);
    if (!second || tflite.TfLiteInterpreterAllocateTensors(second)) return placements;
    if (tflite_seen.before < 0 || tflite_seen.left < 0) return placements;
    upper(unit, sizeof unit, order->delegate);
    if (strcmp(order->delegate, "none") && tflite_seen.left == tflite_seen.before)
        refused("%s took none of the model's operators", unit);
    place(&placements, unit, tflite_seen.before - tflite_seen.left);
    place(&placements, "BUILTIN", tflite_seen.left);
    placements.source = "execution_plan";
    return placements;
}

static const Runtime TFLITE = {tflite_open,   tflite_load,    tflite_inputs,    tflite_bind,
                               tflite_invoke, tflite_outputs, tflite_placements};
