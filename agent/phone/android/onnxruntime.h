// ONNX Runtime through its C API: a session on one execution provider, inputs and outputs bound.
//
// The table of functions is append-only by design, so an index means the same function in every
// release that has it. Indices, signatures and constants: onnxruntime_c_api.h of
// microsoft/onnxruntime v1.29.0 (MIT); checked against the libraries of 1.29 and 1.32.

enum { ORT_OLDEST_API = 17, ORT_ASSIGNMENT_API = 24 };

typedef struct OrtStatus OrtStatus;
typedef struct OrtValue OrtValue;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtIoBinding OrtIoBinding;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtTensorInfo OrtTensorInfo;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtEnv OrtEnv;
typedef struct OrtSubgraph OrtSubgraph;
typedef void OrtFunction(void);

typedef struct {
    OrtFunction *const *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} OrtApiBase;

#define ORT_FUNCTIONS(X)                                                                           \
    X(2, const char *, GetErrorMessage, (const OrtStatus *))                                       \
    X(3, OrtStatus *, CreateEnv, (int severity, const char *, OrtEnv **))                          \
    X(7, OrtStatus *, CreateSession,                                                               \
      (const OrtEnv *, const char *, const OrtSessionOptions *, OrtSession **))                    \
    X(10, OrtStatus *, CreateSessionOptions, (OrtSessionOptions **))                               \
    X(22, OrtStatus *, SetSessionLogSeverityLevel, (OrtSessionOptions *, int))                     \
    X(24, OrtStatus *, SetIntraOpNumThreads, (OrtSessionOptions *, int))                           \
    X(25, OrtStatus *, SetInterOpNumThreads, (OrtSessionOptions *, int))                           \
    X(30, OrtStatus *, SessionGetInputCount, (const OrtSession *, size_t *))                       \
    X(31, OrtStatus *, SessionGetOutputCount, (const OrtSession *, size_t *))                      \
    X(33, OrtStatus *, SessionGetInputTypeInfo, (const OrtSession *, size_t, OrtTypeInfo **))      \
    X(36, OrtStatus *, SessionGetInputName, (const OrtSession *, size_t, OrtAllocator *, char **)) \
    X(37, OrtStatus *, SessionGetOutputName,                                                       \
      (const OrtSession *, size_t, OrtAllocator *, char **))                                       \
    X(49, OrtStatus *, CreateTensorWithDataAsOrtValue,                                             \
      (const OrtMemoryInfo *, void *, size_t, const int64_t *, size_t, int type, OrtValue **))     \
    X(50, OrtStatus *, IsTensor, (const OrtValue *, int *))                                        \
    X(51, OrtStatus *, GetTensorMutableData, (OrtValue *, void **))                                \
    X(55, OrtStatus *, CastTypeInfoToTensorInfo, (const OrtTypeInfo *, const OrtTensorInfo **))    \
    X(60, OrtStatus *, GetTensorElementType, (const OrtTensorInfo *, int *))                       \
    X(61, OrtStatus *, GetDimensionsCount, (const OrtTensorInfo *, size_t *))                      \
    X(62, OrtStatus *, GetDimensions, (const OrtTensorInfo *, int64_t *, size_t))                  \
    X(65, OrtStatus *, GetTensorTypeAndShape, (const OrtValue *, OrtTensorInfo **))                \
    X(69, OrtStatus *, CreateCpuMemoryInfo, (int allocator, int memory, OrtMemoryInfo **))         \
    X(76, OrtStatus *, AllocatorFree, (OrtAllocator *, void *))                                    \
    X(78, OrtStatus *, GetAllocatorWithDefaultOptions, (OrtAllocator **))                          \
    X(93, void, ReleaseStatus, (OrtStatus *))                                                      \
    X(96, void, ReleaseValue, (OrtValue *))                                                        \
    X(98, void, ReleaseTypeInfo, (OrtTypeInfo *))                                                  \
    X(99, void, ReleaseTensorTypeAndShapeInfo, (OrtTensorInfo *))                                  \
    X(125, OrtStatus *, GetAvailableProviders, (char ***, int *))                                  \
    X(126, OrtStatus *, ReleaseAvailableProviders, (char **, int))                                 \
    X(130, OrtStatus *, AddSessionConfigEntry,                                                     \
      (OrtSessionOptions *, const char *key, const char *value))                                   \
    X(133, OrtStatus *, RunWithBinding, (OrtSession *, const void *options, const OrtIoBinding *)) \
    X(134, OrtStatus *, CreateIoBinding, (OrtSession *, OrtIoBinding **))                          \
    X(135, void, ReleaseIoBinding, (OrtIoBinding *))                                               \
    X(136, OrtStatus *, BindInput, (OrtIoBinding *, const char *, const OrtValue *))               \
    X(138, OrtStatus *, BindOutputToDevice, (OrtIoBinding *, const char *, const OrtMemoryInfo *)) \
    X(140, OrtStatus *, GetBoundOutputValues,                                                      \
      (const OrtIoBinding *, OrtAllocator *, OrtValue ***, size_t *))                              \
    X(216, OrtStatus *, SessionOptionsAppendExecutionProvider,                                     \
      (OrtSessionOptions *, const char *, const char *const *, const char *const *, size_t))

// Since API 24: which provider took which nodes of the graph.
#define ORT_ASSIGNMENT_FUNCTIONS(X)                                                                \
    X(407, OrtStatus *, SessionGetEpGraphAssignmentInfo,                                           \
      (const OrtSession *, const OrtSubgraph *const **, size_t *))                                 \
    X(408, OrtStatus *, EpAssignedSubgraphGetEpName, (const OrtSubgraph *, const char **))         \
    X(409, OrtStatus *, EpAssignedSubgraphGetNodes,                                                \
      (const OrtSubgraph *, const void *const **, size_t *))

#define DECLARE_INDEXED(index, result, name, parameters) result(*name) parameters;
#define FIND_INDEXED(index, result, name, parameters) ort.name = (result(*) parameters)table[index];

static struct {
    ORT_FUNCTIONS(DECLARE_INDEXED)
    ORT_ASSIGNMENT_FUNCTIONS(DECLARE_INDEXED)
    void *library;
    OrtEnv *env;
    OrtSession *session;
    OrtAllocator *allocator;
    OrtMemoryInfo *memory;
    OrtIoBinding *binding;
    char provider[128];
    Tensor *inputs;
    OrtValue **bound;
    Array *held;  // what the bound inputs point into
    size_t input_count, output_count;
    char **outputs;
} ort;

// ONNXTensorElementDataType, in its order.
static const struct {
    Type type;
    const char *name;
} ORT_TYPES[] = {
    {OTHER, "undefined"}, {FLOAT32, "float32"}, {UINT8, "uint8"},     {INT8, "int8"},
    {UINT16, "uint16"},   {INT16, "int16"},     {INT32, "int32"},     {INT64, "int64"},
    {OTHER, "string"},    {BOOL, "bool"},       {FLOAT16, "float16"}, {FLOAT64, "float64"},
    {UINT32, "uint32"},   {UINT64, "uint64"},   {OTHER, "complex64"}, {OTHER, "complex128"},
    {OTHER, "bfloat16"},
};
enum { ORT_TYPE_COUNT = sizeof ORT_TYPES / sizeof *ORT_TYPES };

static void ort_check(OrtStatus *status) {
    if (status) runtime_failure(ort.GetErrorMessage(status));
}

static const char *ort_open(const Order *order, void *library) {
    const OrtApiBase *(*get_base)(void);
    void *found = dlsym(library, "OrtGetApiBase");
    memcpy(&get_base, &found, sizeof found);
    if (!found) missing("%s is no ONNX Runtime: it has no OrtGetApiBase", order->library);
    const OrtApiBase *base = get_base();
    const char *version = base->GetVersionString();
    OrtFunction *const *table = base->GetApi(ORT_ASSIGNMENT_API);
    if (table) {
        ORT_ASSIGNMENT_FUNCTIONS(FIND_INDEXED)
    } else if (!(table = base->GetApi(ORT_OLDEST_API))) {
        missing("ONNX Runtime %s is older than 1.%d", version, ORT_OLDEST_API);
    }
    ORT_FUNCTIONS(FIND_INDEXED)
    ort.library = library;
    ort_check(ort.CreateEnv(3, "distillfarm", &ort.env));
    return version;
}

// The library's own name of the provider that is asked for, "cpu" standing for
// "CPUExecutionProvider".
static void ort_find_provider(const Order *order, const char *version) {
    static const char suffix[] = "ExecutionProvider";
    char **offered, name[128];
    int count;
    Arrays known = {0};
    ort_check(ort.GetAvailableProviders(&offered, &count));
    known.items = take((size_t)count * sizeof(Array));
    for (int at = 0; at < count; at++) {
        snprintf(name, sizeof name, "%s", offered[at]);
        char *end = strstr(name, suffix);
        if (end && !end[sizeof suffix - 1]) *end = '\0';
        for (char *letter = name; *letter; letter++)
            *letter = (char)tolower((unsigned char)*letter);
        if (!strcmp(name, order->delegate))
            snprintf(ort.provider, sizeof ort.provider, "%s", offered[at]);
        known.items[known.count++].name = copy_of(name, strlen(name));
    }
    if (!*ort.provider)
        refused("ONNX Runtime %s here has no '%s' execution provider; it has %s", version,
                order->delegate, names_text(known));
    ort_check(ort.ReleaseAvailableProviders(offered, count));
    free_arrays(&known);
}

static void ort_append_provider(const Order *order, OrtSessionOptions *options) {
    char threads[24];
    snprintf(threads, sizeof threads, "%" PRId64, order->threads);
    const char *keys[] = {"intra_op_num_threads"}, *values[] = {threads};
    if (!strcmp(order->delegate, "nnapi")) {
        OrtStatus *(*append)(OrtSessionOptions *, uint32_t flags);
        void *found = dlsym(ort.library, "OrtSessionOptionsAppendExecutionProvider_Nnapi");
        memcpy(&append, &found, sizeof found);
        if (!found) refused("this ONNX Runtime does not export its NNAPI provider");
        ort_check(append(options, 0));
    } else if (!strcmp(order->delegate, "xnnpack")) {
        ort_check(ort.SessionOptionsAppendExecutionProvider(options, "XNNPACK", keys, values, 1));
    } else if (!strcmp(order->delegate, "qnn")) {
        keys[0] = "backend_path", values[0] = "libQnnHtp.so";
        ort_check(ort.SessionOptionsAppendExecutionProvider(options, "QNN", keys, values, 1));
    } else if (strcmp(order->delegate, "cpu")) {
        char stem[128];
        const char *end = strstr(ort.provider, "ExecutionProvider");
        snprintf(stem, sizeof stem, "%.*s", end ? (int)(end - ort.provider) : 0, ort.provider);
        ort_check(ort.SessionOptionsAppendExecutionProvider(options, stem, keys, values, 0));
    }
}

static void ort_read_tensor(const OrtTensorInfo *info, Tensor *tensor) {
    int type;
    ort_check(ort.GetTensorElementType(info, &type));
    ort_check(ort.GetDimensionsCount(info, &tensor->rank));
    bool known = type >= 0 && type < ORT_TYPE_COUNT;
    tensor->type = known ? ORT_TYPES[type].type : OTHER;
    tensor->type_name = known ? ORT_TYPES[type].name : "a narrow number";
    if (tensor->rank > MOST_DIMENSIONS)
        refused("tensor '%s' has %zu dimensions, limit %d", tensor->name, tensor->rank,
                MOST_DIMENSIONS);
    ort_check(ort.GetDimensions(info, tensor->shape, tensor->rank));
}

static void ort_declare_input(size_t at) {
    Tensor *tensor = &ort.inputs[at];
    OrtTypeInfo *type;
    const OrtTensorInfo *info;
    ort_check(ort.SessionGetInputName(ort.session, at, ort.allocator, &tensor->name));
    ort_check(ort.SessionGetInputTypeInfo(ort.session, at, &type));
    ort_check(ort.CastTypeInfoToTensorInfo(type, &info));
    *tensor = (Tensor){.name = tensor->name, .type = OTHER, .type_name = "no tensor"};
    if (info) ort_read_tensor(info, tensor);
    ort.ReleaseTypeInfo(type);
}

static void ort_declare(void) {
    ort_check(ort.SessionGetInputCount(ort.session, &ort.input_count));
    ort_check(ort.SessionGetOutputCount(ort.session, &ort.output_count));
    ort.inputs = take(ort.input_count * sizeof *ort.inputs);
    ort.bound = take(ort.input_count * sizeof *ort.bound);
    ort.held = take(ort.input_count * sizeof *ort.held);
    ort.outputs = take(ort.output_count * sizeof *ort.outputs);
    for (size_t at = 0; at < ort.input_count; at++) ort_declare_input(at);
    for (size_t at = 0; at < ort.output_count; at++)
        ort_check(ort.SessionGetOutputName(ort.session, at, ort.allocator, &ort.outputs[at]));
}

static Placements ort_placements(const Order *order) {
    Placements placements = {.source = ""};
    const OrtSubgraph *const *parts;
    size_t count;
    (void)order;
    if (!ort.SessionGetEpGraphAssignmentInfo) return placements;
    ort_check(ort.SessionGetEpGraphAssignmentInfo(ort.session, &parts, &count));
    for (size_t at = 0; at < count; at++) {
        const char *unit;
        const void *const *nodes;
        size_t node_count;
        ort_check(ort.EpAssignedSubgraphGetEpName(parts[at], &unit));
        ort_check(ort.EpAssignedSubgraphGetNodes(parts[at], &nodes, &node_count));
        place(&placements, unit, (int64_t)node_count);
    }
    placements.source = "ep_graph_assignment_info";
    return placements;
}

static void ort_refuse_fallback(void) {
    Placements placements = ort_placements(NULL);
    for (size_t at = 0; at < placements.count; at++)
        if (!strcmp(placements.items[at].unit, ort.provider)) return;
    if (*placements.source && placements.count)
        refused("%s took none of the model's operators", ort.provider);
}

static void ort_load(const Order *order) {
    OrtSessionOptions *options;
    ort_find_provider(order, runtime_version);
    ort_check(ort.CreateSessionOptions(&options));
    ort_check(ort.SetIntraOpNumThreads(options, (int)order->threads));
    ort_check(ort.SetInterOpNumThreads(options, 1));
    ort_check(ort.SetSessionLogSeverityLevel(options, 3));
    if (ort.SessionGetEpGraphAssignmentInfo)
        ort_check(
            ort.AddSessionConfigEntry(options, "session.record_ep_graph_assignment_info", "1"));
    ort_append_provider(order, options);
    ort_check(ort.CreateSession(ort.env, order->model, options, &ort.session));
    ort_check(ort.GetAllocatorWithDefaultOptions(&ort.allocator));
    ort_check(ort.CreateCpuMemoryInfo(1, 0, &ort.memory));  // arena, default memory
    ort_refuse_fallback();
    ort_declare();
}

static const Tensor *ort_inputs(size_t *count) {
    *count = ort.input_count;
    return ort.inputs;
}

static int ort_type_number(Type type) {
    int number = 0;
    while (number < ORT_TYPE_COUNT && ORT_TYPES[number].type != type) number++;
    return number;
}

static void ort_bind_check(OrtStatus *status) {
    if (status) bad_inputs("ONNX Runtime cannot bind the inputs: %s", ort.GetErrorMessage(status));
}

static void ort_hold(size_t at, const Array *array) {
    Array *held = &ort.held[at];
    if (ort.bound[at]) ort.ReleaseValue(ort.bound[at]);
    free(held->name);
    free(held->data);
    *held = blank(array->name, array->type, array->shape, array->rank);
    memcpy(held->data, array->data, array_bytes(array));
    ort_bind_check(ort.CreateTensorWithDataAsOrtValue(ort.memory, held->data, array_bytes(held),
                                                      held->shape, held->rank,
                                                      ort_type_number(held->type), &ort.bound[at]));
}

// The first run allocates the outputs, and the binding keeps them for the next ones.
static void ort_bind(const Array *arrays) {
    if (ort.binding) ort.ReleaseIoBinding(ort.binding);
    ort_bind_check(ort.CreateIoBinding(ort.session, &ort.binding));
    for (size_t at = 0; at < ort.input_count; at++) {
        ort_hold(at, &arrays[at]);
        ort_bind_check(ort.BindInput(ort.binding, ort.inputs[at].name, ort.bound[at]));
    }
    for (size_t at = 0; at < ort.output_count; at++)
        ort_bind_check(ort.BindOutputToDevice(ort.binding, ort.outputs[at], ort.memory));
}

static void ort_invoke(void) { ort_check(ort.RunWithBinding(ort.session, NULL, ort.binding)); }

static Array ort_output(const char *name, OrtValue *value) {
    Tensor about = {.name = (char *)name};
    OrtTensorInfo *info;
    int is_tensor;
    void *data;
    ort_check(ort.IsTensor(value, &is_tensor));
    if (!is_tensor) return (Array){.name = copy_of(name, strlen(name)), .type = OTHER};
    ort_check(ort.GetTensorTypeAndShape(value, &info));
    ort_read_tensor(info, &about);
    ort.ReleaseTensorTypeAndShapeInfo(info);
    Array array = blank(name, about.type, about.shape, about.rank);
    if (array_bytes(&array)) {
        ort_check(ort.GetTensorMutableData(value, &data));
        memcpy(array.data, data, array_bytes(&array));
    }
    return array;
}

static Arrays ort_outputs(void) {
    OrtValue **values;
    size_t count;
    ort_check(ort.GetBoundOutputValues(ort.binding, ort.allocator, &values, &count));
    Arrays outputs = {take(count * sizeof(Array)), 0, 0};
    for (size_t at = 0; at < count && at < ort.output_count; at++) {
        outputs.items[outputs.count++] = ort_output(ort.outputs[at], values[at]);
        ort.ReleaseValue(values[at]);
    }
    if (count) ort_check(ort.AllocatorFree(ort.allocator, values));
    return outputs;
}

static const Runtime ONNXRUNTIME = {ort_open,   ort_load,    ort_inputs,    ort_bind,
                                    ort_invoke, ort_outputs, ort_placements};
