// LiteRT through its CompiledModel C API, which libLiteRt.so exports in place of the classic one.
//
// Signatures, structures and options: litert/c/ and litert/c/options/ of google-ai-edge/LiteRT
// v2.2.0 (Apache-2.0); run with the libraries of 2.3. LiteRtCreateModelFromFd tells releases
// since 2.1.6, whose LiteRtCreateModelFromFile takes an environment, from older ones, which are not
// supported. The library exports no version.

typedef struct LiteRtEnvironment LiteRtEnvironment;
typedef struct LiteRtModel LiteRtModel;
typedef struct LiteRtOptions LiteRtOptions;
typedef struct LiteRtOpaque LiteRtOpaque;
typedef struct LiteRtCompiled LiteRtCompiled;
typedef struct LiteRtSignature LiteRtSignature;
typedef struct LiteRtSubgraph LiteRtSubgraph;
typedef struct LiteRtTensor LiteRtTensor;
typedef struct LiteRtBuffer LiteRtBuffer;
typedef struct LiteRtRequirements LiteRtRequirements;
typedef struct LiteRtProfiler LiteRtProfiler;

enum { LITERT_MOST_DIMENSIONS = 8, LITERT_MAIN_SUBGRAPH = 0 };
enum { LITERT_CPU = 1, LITERT_GPU = 2, LITERT_NPU = 4 };
enum { LITERT_READ = 0, LITERT_WRITE = 1 };

typedef struct {
    unsigned int rank : 7, has_strides : 1;
    int32_t dimensions[LITERT_MOST_DIMENSIONS];
    uint32_t strides[LITERT_MOST_DIMENSIONS];
} LiteRtLayout;

typedef struct {
    int element_type;
    LiteRtLayout layout;
} LiteRtType;

typedef struct {
    float scale;
    int64_t zero;
} LiteRtPerTensor;

typedef struct {
    int tag;
    struct {
        int type;
        union {
            int64_t integer;
            const char *string;
        };
    } value;
} LiteRtEnvironmentOption;

typedef struct {
    const char *tag;
    int type;
    uint64_t start_us, elapsed_us;
    size_t memory[6];
    uint64_t node, subgraph;
    int source;
} LiteRtEvent;

_Static_assert(sizeof(LiteRtType) == 72, "as litert_model_types.h asserts");
_Static_assert(sizeof(LiteRtPerTensor) == 16, "as litert_model_types.h asserts");
_Static_assert(sizeof(LiteRtEnvironmentOption) == 24, "as litert_environment_options.h asserts");

#define LITERT_FUNCTIONS(X)                                                                        \
    X(int, LiteRtCreateEnvironment, (int, const LiteRtEnvironmentOption *, LiteRtEnvironment **))  \
    X(int, LiteRtCreateModelFromFd, (LiteRtEnvironment *, int, size_t, size_t, LiteRtModel **))    \
    X(int, LiteRtCreateModelFromFile, (LiteRtEnvironment *, const char *, LiteRtModel **))         \
    X(int, LiteRtCreateOptions, (LiteRtOptions **))                                                \
    X(int, LiteRtSetOptionsHardwareAccelerators, (LiteRtOptions *, int))                           \
    X(int, LiteRtCreateOpaqueOptions, (const char *, void *, void (*)(void *), LiteRtOpaque **))   \
    X(int, LiteRtAddOpaqueOptions, (LiteRtOptions *, LiteRtOpaque *))                              \
    X(int, LiteRtCreateCompiledModel,                                                              \
      (LiteRtEnvironment *, LiteRtModel *, LiteRtOptions *, LiteRtCompiled **))                    \
    X(void, LiteRtDestroyCompiledModel, (LiteRtCompiled *))                                        \
    X(int, LiteRtGetMainModelSubgraphIndex, (LiteRtModel *, size_t *))                             \
    X(int, LiteRtGetModelSubgraph, (LiteRtModel *, size_t, LiteRtSubgraph **))                     \
    X(int, LiteRtGetNumSubgraphOps, (LiteRtSubgraph *, size_t *))                                  \
    X(int, LiteRtGetNumModelSignatures, (LiteRtModel *, size_t *))                                 \
    X(int, LiteRtGetModelSignature, (LiteRtModel *, size_t, LiteRtSignature **))                   \
    X(int, LiteRtGetSignatureSubgraph, (LiteRtSignature *, LiteRtSubgraph **))                     \
    X(int, LiteRtGetNumSignatureInputs, (LiteRtSignature *, size_t *))                             \
    X(int, LiteRtGetNumSignatureOutputs, (LiteRtSignature *, size_t *))                            \
    X(int, LiteRtGetSignatureInputName, (LiteRtSignature *, size_t, const char **))                \
    X(int, LiteRtGetSignatureOutputName, (LiteRtSignature *, size_t, const char **))               \
    X(int, LiteRtGetSignatureInputTensorByIndex, (LiteRtSignature *, size_t, LiteRtTensor **))     \
    X(int, LiteRtGetSignatureOutputTensorByIndex, (LiteRtSignature *, size_t, LiteRtTensor **))    \
    X(int, LiteRtGetRankedTensorType, (LiteRtTensor *, LiteRtType *))                              \
    X(int, LiteRtGetQuantizationTypeId, (LiteRtTensor *, int *))                                   \
    X(int, LiteRtGetPerTensorQuantization, (LiteRtTensor *, LiteRtPerTensor *))                    \
    X(int, LiteRtGetCompiledModelInputTensorLayout,                                                \
      (LiteRtCompiled *, size_t, size_t, LiteRtLayout *))                                          \
    X(int, LiteRtGetCompiledModelOutputTensorLayouts,                                              \
      (LiteRtCompiled *, size_t, size_t, LiteRtLayout *, bool))                                    \
    X(int, LiteRtGetCompiledModelInputBufferRequirements,                                          \
      (LiteRtCompiled *, size_t, size_t, LiteRtRequirements **))                                   \
    X(int, LiteRtGetCompiledModelOutputBufferRequirements,                                         \
      (LiteRtCompiled *, size_t, size_t, LiteRtRequirements **))                                   \
    X(int, LiteRtCompiledModelResizeInputTensor,                                                   \
      (LiteRtCompiled *, size_t, size_t, const int *, size_t))                                     \
    X(int, LiteRtCreateManagedTensorBufferFromRequirements,                                        \
      (LiteRtEnvironment *, const LiteRtType *, LiteRtRequirements *, LiteRtBuffer **))            \
    X(void, LiteRtDestroyTensorBuffer, (LiteRtBuffer *))                                           \
    X(int, LiteRtGetTensorBufferPackedSize, (LiteRtBuffer *, size_t *))                            \
    X(int, LiteRtLockTensorBuffer, (LiteRtBuffer *, void **, int))                                 \
    X(int, LiteRtUnlockTensorBuffer, (LiteRtBuffer *))                                             \
    X(int, LiteRtRunCompiledModel,                                                                 \
      (LiteRtCompiled *, size_t, size_t, LiteRtBuffer **, size_t, LiteRtBuffer **))                \
    X(int, LiteRtCompiledModelGetProfiler, (LiteRtCompiled *, LiteRtProfiler **))                  \
    X(int, LiteRtStartProfiler, (LiteRtProfiler *))                                                \
    X(int, LiteRtStopProfiler, (LiteRtProfiler *))                                                 \
    X(int, LiteRtGetNumProfilerEvents, (LiteRtProfiler *, int *))                                  \
    X(int, LiteRtGetProfilerEvents, (LiteRtProfiler *, int, LiteRtEvent *))

static struct {
    LITERT_FUNCTIONS(DECLARE_SYMBOL)
    LiteRtEnvironment *environment;
    LiteRtModel *model;
    LiteRtCompiled *compiled;
    size_t signature, input_count, output_count;
    Quantised *inputs, *outputs;
    LiteRtType *input_types, *output_types;
    LiteRtBuffer **bound, **made;
    Tensor *declared;
} litert;

// LiteRtStatus of litert/c/litert_common.h; the library does not export its own words.
static _Noreturn void litert_failure(int status) {
    static const struct {
        int status;
        const char *words;
    } known[] = {{1, "invalid argument"},
                 {2, "out of memory"},
                 {3, "runtime failure"},
                 {5, "unsupported"},
                 {6, "not found"},
                 {500, "file not readable"},
                 {501, "not a valid Flatbuffer"},
                 {502, "library not loadable"},
                 {504, "compilation failed"},
                 {5000, "shapes not inferable"},
                 {5001, "shapes do not fit"}};
    const char *words = "failure";
    Text text = {0};
    tap_stop();  // what was logged has been read then
    for (size_t at = 0; at < sizeof known / sizeof *known; at++)
        if (known[at].status == status) words = known[at].words;
    text_format(&text, "LiteRT: %s (status %d)%s%s", words, status, *tap.error ? ": " : "",
                tap.error);
    runtime_failure(text.bytes);
}

static void litert_check(int status) {
    if (status) litert_failure(status);
}

static const char *litert_open(const Order *order, void *library) {
    const char *absent = NULL;
#define symbols litert
    LITERT_FUNCTIONS(FIND_SYMBOL)
#undef symbols
    if (absent) missing("%s has no %s; LiteRT 2.1.6 or newer has it", order->library, absent);
    return "";
}

// -- load

static int litert_accelerator(const char *delegate) {
    if (!strcmp(delegate, "xnnpack") || !strcmp(delegate, "none")) return LITERT_CPU;
    if (!strcmp(delegate, "gpu")) return LITERT_GPU;
    if (!strcmp(delegate, "npu")) return LITERT_NPU;
    no_delegate("", delegate, "gpu, none, npu, xnnpack");
}

// Only the accelerator that is asked for is registered, so that no other one is loaded and
// measured.
static void litert_make_environment(const Order *order) {
    enum { DISPATCH_FOLDER = 1, COMPILER_CACHE = 18, RUNTIME_FOLDER = 22, ACCELERATORS = 24 };
    enum { INTEGER = 2, TEXT = 8 };
    const char *slash = strrchr(order->library, '/');
    const char *beside = slash ? copy_of(order->library, (size_t)(slash - order->library)) : ".";
    LiteRtEnvironmentOption options[] = {
        {ACCELERATORS, {INTEGER, {.integer = litert_accelerator(order->delegate)}}},
        {DISPATCH_FOLDER, {TEXT, {.string = beside}}},  // accelerators lie beside the runtime
        {RUNTIME_FOLDER, {TEXT, {.string = beside}}},
        {COMPILER_CACHE, {TEXT, {.string = order->cache}}},
    };
    litert_check(
        litert.LiteRtCreateEnvironment(*order->cache ? 4 : 3, options, &litert.environment));
}

// Options travel as TOML under the name of who reads them: litert/c/options/litert_cpu_options.cc
// and litert_runtime_options.cc.
static void litert_add_options(LiteRtOptions *options, const char *reader, const char *toml) {
    LiteRtOpaque *opaque;
    char *copy = copy_of(toml, strlen(toml));
    litert_check(litert.LiteRtCreateOpaqueOptions(reader, copy, free, &opaque));
    litert_check(litert.LiteRtAddOpaqueOptions(options, opaque));
}

static LiteRtCompiled *litert_compile(const Order *order, bool profile) {
    LiteRtOptions *options;
    LiteRtCompiled *compiled;
    Text cpu = {0};
    litert_check(litert.LiteRtCreateOptions(&options));
    litert_check(
        litert.LiteRtSetOptionsHardwareAccelerators(options, litert_accelerator(order->delegate)));
    text_format(&cpu, "kernel_mode = \"%s\"\nnum_threads = %" PRId64 "\n",
                strcmp(order->delegate, "none") ? "delegate" : "builtin", order->threads);
    litert_add_options(options, "xnnpack", cpu.bytes);
    litert_add_options(options, "runtime_options_string",
                       profile ? "enable_profiling = true\n" : "enable_profiling = false\n");
    litert_check(
        litert.LiteRtCreateCompiledModel(litert.environment, litert.model, options, &compiled));
    free(cpu.bytes);
    return compiled;
}

static LiteRtSubgraph *litert_main_subgraph(void) {
    LiteRtSubgraph *subgraph;
    size_t index;
    litert_check(litert.LiteRtGetMainModelSubgraphIndex(litert.model, &index));
    litert_check(litert.LiteRtGetModelSubgraph(litert.model, index, &subgraph));
    return subgraph;
}

// The signature of the main graph; LiteRT makes one up from tensor names where a file has none.
static LiteRtSignature *litert_find_signature(void) {
    LiteRtSubgraph *main_graph = litert_main_subgraph(), *subgraph;
    LiteRtSignature *signature;
    size_t count;
    litert_check(litert.LiteRtGetNumModelSignatures(litert.model, &count));
    if (count == 0) refused("the model has no signature that could be run");
    for (litert.signature = 0; litert.signature < count; litert.signature++) {
        litert_check(litert.LiteRtGetModelSignature(litert.model, litert.signature, &signature));
        litert_check(litert.LiteRtGetSignatureSubgraph(signature, &subgraph));
        if (subgraph == main_graph) return signature;
    }
    litert.signature = 0;
    litert_check(litert.LiteRtGetModelSignature(litert.model, 0, &signature));
    return signature;
}

static void litert_declare(const char *name, LiteRtTensor *from, Quantised *tensor,
                           LiteRtType *type) {
    enum { PER_TENSOR = 1 };
    LiteRtPerTensor quantization = {0};
    Tensor *declared = &tensor->declared;
    int kind;
    if (litert.LiteRtGetRankedTensorType(from, type))
        refused("tensor '%s' has no fixed number of dimensions", name);
    litert_check(litert.LiteRtGetQuantizationTypeId(from, &kind));
    if (kind == PER_TENSOR)
        litert_check(litert.LiteRtGetPerTensorQuantization(from, &quantization));
    declared->name = copy_of(name, strlen(name));
    declare(tensor, type->element_type, quantization.scale, quantization.zero);
    declared->rank = type->layout.rank;
    if (declared->rank > LITERT_MOST_DIMENSIONS)
        refused("tensor '%s' has %zu dimensions", name, declared->rank);
    for (size_t at = 0; at < declared->rank; at++)
        declared->shape[at] = type->layout.dimensions[at] < 0 ? -1 : type->layout.dimensions[at];
}

static void litert_declare_all(LiteRtSignature *signature) {
    const char *name;
    LiteRtTensor *tensor;
    litert_check(litert.LiteRtGetNumSignatureInputs(signature, &litert.input_count));
    litert_check(litert.LiteRtGetNumSignatureOutputs(signature, &litert.output_count));
    litert.inputs = take(litert.input_count * sizeof(Quantised));
    litert.outputs = take(litert.output_count * sizeof(Quantised));
    litert.input_types = take(litert.input_count * sizeof(LiteRtType));
    litert.output_types = take(litert.output_count * sizeof(LiteRtType));
    litert.bound = take(litert.input_count * sizeof(LiteRtBuffer *));
    litert.made = take(litert.output_count * sizeof(LiteRtBuffer *));
    litert.declared = take(litert.input_count * sizeof(Tensor));
    for (size_t at = 0; at < litert.input_count; at++) {
        litert_check(litert.LiteRtGetSignatureInputName(signature, at, &name));
        litert_check(litert.LiteRtGetSignatureInputTensorByIndex(signature, at, &tensor));
        litert_declare(name, tensor, &litert.inputs[at], &litert.input_types[at]);
        litert.declared[at] = litert.inputs[at].declared;
    }
    for (size_t at = 0; at < litert.output_count; at++) {
        litert_check(litert.LiteRtGetSignatureOutputName(signature, at, &name));
        litert_check(litert.LiteRtGetSignatureOutputTensorByIndex(signature, at, &tensor));
        litert_declare(name, tensor, &litert.outputs[at], &litert.output_types[at]);
    }
}

// Tensors are allocated when they are first asked for; asking here makes that a part of loading.
static void litert_allocate(void) {
    LiteRtLayout *layouts = take(litert.output_count * sizeof *layouts);
    litert_check(litert.LiteRtGetCompiledModelOutputTensorLayouts(
        litert.compiled, litert.signature, litert.output_count, layouts, true));
    free(layouts);
}

static void litert_load(const Order *order) {
    litert_make_environment(order);
    litert_check(litert.LiteRtCreateModelFromFile(litert.environment, order->model, &litert.model));
    litert.compiled = litert_compile(order, false);
    litert_declare_all(litert_find_signature());
    litert_allocate();
}

static const Tensor *litert_inputs(size_t *count) {
    *count = litert.input_count;
    return litert.declared;
}

// -- bind

static void litert_bind_check(int status) {
    if (!status) return;
    tap_stop();
    bad_inputs("LiteRT cannot set the inputs: status %d%s%s", status, *tap.error ? ": " : "",
               tap.error);
}

static bool litert_has_shape(const LiteRtLayout *layout, const Array *array) {
    if (layout->rank != array->rank) return false;
    for (size_t at = 0; at < array->rank; at++)
        if (layout->dimensions[at] != array->shape[at]) return false;
    return true;
}

static void litert_fit_input(size_t at, const Array *array) {
    LiteRtLayout layout;
    int shape[LITERT_MOST_DIMENSIONS];
    litert_bind_check(litert.LiteRtGetCompiledModelInputTensorLayout(
        litert.compiled, litert.signature, at, &layout));
    if (litert_has_shape(&layout, array)) return;
    for (size_t axis = 0; axis < array->rank; axis++) shape[axis] = (int)array->shape[axis];
    litert_bind_check(litert.LiteRtCompiledModelResizeInputTensor(litert.compiled, litert.signature,
                                                                  at, shape, array->rank));
}

static void litert_bind_input(size_t at, const Array *array) {
    Array stored = to_stored(&litert.inputs[at], array);
    LiteRtType type = litert.input_types[at];
    LiteRtRequirements *requirements;
    size_t size;
    void *memory;
    for (size_t axis = 0; axis < array->rank; axis++)
        type.layout.dimensions[axis] = (int32_t)array->shape[axis];
    litert_bind_check(litert.LiteRtGetCompiledModelInputBufferRequirements(
        litert.compiled, litert.signature, at, &requirements));
    if (litert.bound[at]) litert.LiteRtDestroyTensorBuffer(litert.bound[at]);
    litert_bind_check(litert.LiteRtCreateManagedTensorBufferFromRequirements(
        litert.environment, &type, requirements, &litert.bound[at]));
    litert_bind_check(litert.LiteRtGetTensorBufferPackedSize(litert.bound[at], &size));
    if (size < array_bytes(&stored))
        bad_inputs("LiteRT gives input '%s' %zu bytes, too few", array->name, size);
    litert_bind_check(litert.LiteRtLockTensorBuffer(litert.bound[at], &memory, LITERT_WRITE));
    memcpy(memory, stored.data, array_bytes(&stored));
    litert_bind_check(litert.LiteRtUnlockTensorBuffer(litert.bound[at]));
    free(stored.name);
    free(stored.data);
}

static void litert_make_outputs(void) {
    LiteRtLayout *layouts = take(litert.output_count * sizeof *layouts);
    litert_bind_check(litert.LiteRtGetCompiledModelOutputTensorLayouts(
        litert.compiled, litert.signature, litert.output_count, layouts, true));
    for (size_t at = 0; at < litert.output_count; at++) {
        LiteRtRequirements *requirements;
        litert.output_types[at].layout = layouts[at];
        litert_bind_check(litert.LiteRtGetCompiledModelOutputBufferRequirements(
            litert.compiled, litert.signature, at, &requirements));
        if (litert.made[at]) litert.LiteRtDestroyTensorBuffer(litert.made[at]);
        litert_bind_check(litert.LiteRtCreateManagedTensorBufferFromRequirements(
            litert.environment, &litert.output_types[at], requirements, &litert.made[at]));
    }
    free(layouts);
}

// This API has no call that clears the state of variables; models with one carry it over.
static void litert_bind(const Array *arrays) {
    for (size_t at = 0; at < litert.input_count; at++) litert_fit_input(at, &arrays[at]);
    for (size_t at = 0; at < litert.input_count; at++) litert_bind_input(at, &arrays[at]);
    litert_make_outputs();
}

static void litert_run(LiteRtCompiled *compiled) {
    litert_check(litert.LiteRtRunCompiledModel(compiled, litert.signature, litert.input_count,
                                               litert.bound, litert.output_count, litert.made));
}

static void litert_invoke(void) { litert_run(litert.compiled); }

static Arrays litert_outputs(void) {
    Arrays outputs = {take(litert.output_count * sizeof(Array)), 0, 0};
    for (size_t at = 0; at < litert.output_count; at++) {
        const LiteRtLayout *layout = &litert.output_types[at].layout;
        int64_t shape[LITERT_MOST_DIMENSIONS];
        size_t size;
        void *memory;
        for (size_t axis = 0; axis < layout->rank; axis++) shape[axis] = layout->dimensions[axis];
        litert_check(litert.LiteRtGetTensorBufferPackedSize(litert.made[at], &size));
        litert_check(litert.LiteRtLockTensorBuffer(litert.made[at], &memory, LITERT_READ));
        outputs.items[outputs.count++] =
            from_stored(&litert.outputs[at], memory, size, shape, layout->rank);
        litert_check(litert.LiteRtUnlockTensorBuffer(litert.made[at]));
    }
    return outputs;
}

// -- evidence

// One profiled inference of a second compiled model, after everything was measured. The interpreter
// numbers a delegate's nodes after the graph's own, so an invoked node below the graph's count ran
// on LiteRT's own kernels; all others ran inside the delegate, which reports its insides (XNNPACK)
// or appears as a node (others).
typedef struct {
    size_t own;  // nodes on LiteRT's own kernels
    bool delegate, unclear;
} Invoked;

static void litert_count_event(const LiteRtEvent *event, size_t nodes, bool *seen,
                               Invoked *invoked) {
    enum { OPERATOR = 2, INSIDE_DELEGATE = 4, OPERATOR_OF_DELEGATE = 8 };
    if (event->type == INSIDE_DELEGATE || event->type == OPERATOR_OF_DELEGATE)
        invoked->delegate = true;
    if (event->type != OPERATOR || event->subgraph != LITERT_MAIN_SUBGRAPH) return;
    if (event->node < nodes) {
        invoked->own += !seen[event->node];
        seen[event->node] = true;
    } else if (event->tag && strcasestr(event->tag, "delegate")) {
        invoked->delegate = true;
    } else {
        invoked->unclear = true;  // a node of an inlined graph
    }
}

static Invoked litert_profile(const Order *order, size_t nodes) {
    enum { PROFILER_ROOM = 10240 };  // litert/runtime/profiler.h; later events replace the first
    Invoked invoked = {0};
    LiteRtProfiler *profiler;
    int count;
    litert.compiled = litert_compile(order, true);
    if (litert.LiteRtCompiledModelGetProfiler(litert.compiled, &profiler) || !profiler ||
        litert.LiteRtStartProfiler(profiler)) {
        invoked.unclear = true;
        return invoked;
    }
    litert_invoke();
    litert_check(litert.LiteRtStopProfiler(profiler));
    litert_check(litert.LiteRtGetNumProfilerEvents(profiler, &count));
    LiteRtEvent *events = take((size_t)count * sizeof *events);
    bool *seen = take(nodes);
    litert_check(litert.LiteRtGetProfilerEvents(profiler, count, events));
    invoked.unclear = count >= PROFILER_ROOM;
    for (int at = 0; at < count; at++) litert_count_event(&events[at], nodes, seen, &invoked);
    free(events);
    free(seen);
    return invoked;
}

static Placements litert_placements(const Order *order) {
    Placements placements = {.source = ""};
    char unit[64];
    size_t nodes;
    litert_check(litert.LiteRtGetNumSubgraphOps(litert_main_subgraph(), &nodes));
    Invoked invoked = litert_profile(order, nodes);
    if (invoked.unclear || (!invoked.delegate && invoked.own != nodes)) return placements;
    upper(unit, sizeof unit, order->delegate);
    if (strcmp(order->delegate, "none") && !invoked.delegate)
        refused("%s took none of the model's operators", unit);
    place(&placements, unit, (int64_t)(nodes - invoked.own));
    place(&placements, "BUILTIN", (int64_t)invoked.own);
    placements.source = "profiler";
    return placements;
}

static const Runtime LITERT = {litert_open,   litert_load,    litert_inputs,    litert_bind,
                               litert_invoke, litert_outputs, litert_placements};
