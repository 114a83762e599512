// A stand-in for libtensorflowlite_c.so: its C API over a graph of three nodes, for tests of the
// native runner. The output is 2 * x as int8 of scale 0.5 and zero point 1. XNNPACK takes two of
// the nodes, the GPU delegate none. The model's file holds one word, which decides what goes wrong.
//
// Written from the documented signatures of tflite/core/c/c_api.h; no code of that project.

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;
    int type, rank;
    int32_t shape[2];
    float scale;
    int32_t zero;
    char data[256];
} Tensor;

typedef struct {
    int size;
    int nodes[3];
} Plan;

typedef struct Context {
    size_t tensor_count;
    int (*get_execution_plan)(struct Context *, Plan **);
} Context;

typedef struct Delegate {
    void *data;
    int (*prepare)(Context *, struct Delegate *);
    void *rest[4];
} Delegate;

typedef struct {
    int32_t threads;
    uint32_t flags;
    void *more[6];
} XnnpackOptions;

typedef struct {
    char word[32];
} Model;

typedef struct {
    Delegate *delegates[8];
    int count;
    void (*report)(void *, const char *, va_list);
} Options;

typedef struct {
    const Model *model;
    const Options *options;
    Tensor input, output;
} Interpreter;

typedef struct {
    float scale;
    int32_t zero;
} Quantization;

static Plan plan;
static Delegate xnnpack, gpu;

static int get_execution_plan(Context *context, Plan **found) {
    (void)context;
    *found = &plan;
    return 0;
}

static void report(const Options *options, const char *format, ...) {
    va_list list;
    va_start(list, format);
    options->report(NULL, format, list);
    va_end(list);
}

const char *TfLiteVersion(void) { return "2.16.1"; }

Model *TfLiteModelCreateFromFile(const char *path) {
    Model *model = calloc(1, sizeof *model);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(model->word, sizeof model->word, file)) return NULL;
    fclose(file);
    if (!strcmp(model->word, "flood"))
        for (int at = 0; at < 20000; at++) {
            printf("{\"event\": \"finished\", \"line\": %d}\n", at);
            fprintf(stderr, "VERBOSE: one more line that nobody asked for\n");
        }
    return model;
}

Options *TfLiteInterpreterOptionsCreate(void) { return calloc(1, sizeof(Options)); }
void TfLiteInterpreterOptionsSetNumThreads(Options *options, int32_t threads) {
    (void)options, (void)threads;
}
void TfLiteInterpreterOptionsAddDelegate(Options *options, Delegate *delegate) {
    options->delegates[options->count++] = delegate;
}
void TfLiteInterpreterOptionsSetErrorReporter(Options *options,
                                              void (*reporter)(void *, const char *, va_list),
                                              void *data) {
    (void)data;
    options->report = reporter;
}

XnnpackOptions TfLiteXNNPackDelegateOptionsDefault(void) { return (XnnpackOptions){.flags = 7}; }

Delegate *TfLiteXNNPackDelegateCreate(const XnnpackOptions *options) {
    fputs("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n", stderr);
    return options->flags == 7 && options->threads > 0 ? &xnnpack : NULL;
}

Delegate *TfLiteGpuDelegateV2Create(const void *options) { return options ? NULL : &gpu; }

Interpreter *TfLiteInterpreterCreate(const Model *model, const Options *options) {
    Interpreter *made = calloc(1, sizeof *made);
    Context context = {.get_execution_plan = get_execution_plan};
    made->model = model;
    made->options = options;
    made->input = (Tensor){.name = "x", .type = 1, .rank = 2, .shape = {1, 4}};
    made->output =
        (Tensor){.name = "twice", .type = 9, .rank = 2, .shape = {1, 4}, .scale = 0.5f, .zero = 1};
    plan = (Plan){3, {0, 1, 2}};
    if (!strcmp(model->word, "own xnnpack"))
        TfLiteXNNPackDelegateCreate(&(XnnpackOptions){1, 7, {0}});
    for (int at = 0; at < options->count; at++) {
        Delegate *delegate = options->delegates[at];
        if (delegate == &xnnpack) plan = (Plan){2, {0, 3}};  // its own node comes after the graph's
        else if (delegate != &gpu && delegate->prepare(&context, delegate)) return NULL;
    }
    return made;
}

int TfLiteInterpreterAllocateTensors(Interpreter *interpreter) {
    const char *word = interpreter->model->word;
    if (!strcmp(word, "no kernel")) report(interpreter->options, "no kernel for %s", "FFT\n\n 3D");
    if (!strcmp(word, "no memory")) report(interpreter->options, "Failed to allocate memory");
    return !strcmp(word, "no kernel") || !strcmp(word, "no memory");
}

int TfLiteInterpreterInvoke(Interpreter *interpreter) {
    if (!strcmp(interpreter->model->word, "crash")) abort();
    for (int at = 0; at < 4; at++) {
        float value;
        memcpy(&value, interpreter->input.data + 4 * at, 4);
        interpreter->output.data[at] = (char)(int)(2 * value / 0.5f + 1);
    }
    return 0;
}

int TfLiteInterpreterResizeInputTensor(Interpreter *interpreter, int32_t at, const int *shape,
                                       int32_t rank) {
    (void)interpreter, (void)at, (void)shape, (void)rank;
    return 1;
}
int32_t TfLiteInterpreterGetInputTensorCount(const Interpreter *interpreter) {
    (void)interpreter;
    return 1;
}
int32_t TfLiteInterpreterGetOutputTensorCount(const Interpreter *interpreter) {
    (void)interpreter;
    return 1;
}
Tensor *TfLiteInterpreterGetInputTensor(Interpreter *interpreter, int32_t at) {
    (void)at;
    return &interpreter->input;
}
const Tensor *TfLiteInterpreterGetOutputTensor(const Interpreter *interpreter, int32_t at) {
    (void)at;
    return &interpreter->output;
}
int TfLiteTensorType(const Tensor *tensor) { return tensor->type; }
int32_t TfLiteTensorNumDims(const Tensor *tensor) { return tensor->rank; }
int32_t TfLiteTensorDim(const Tensor *tensor, int32_t at) { return tensor->shape[at]; }
size_t TfLiteTensorByteSize(const Tensor *tensor) { return tensor->type == 1 ? 16 : 4; }
void *TfLiteTensorData(Tensor *tensor) { return tensor->data; }
const char *TfLiteTensorName(const Tensor *tensor) { return tensor->name; }
Quantization TfLiteTensorQuantizationParams(const Tensor *tensor) {
    return (Quantization){tensor->scale, tensor->zero};
}
int TfLiteTensorCopyFromBuffer(Tensor *tensor, const void *data, size_t size) {
    if (size != TfLiteTensorByteSize(tensor)) return 1;
    memcpy(tensor->data, data, size);
    return 0;
}
