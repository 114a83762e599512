// What TFLite and LiteRT share: numbers of element types, and tensors that stand for real numbers.

// A tensor with the scale that its integers count in; 0 where they are what they are.
typedef struct {
    Tensor declared;  // what the caller gives or gets: float32 where the tensor is quantised
    Type stored;
    float scale;
    int64_t zero;
} Quantised;

// TfLiteType of tflite/core/c/c_api_types.h, LiteRtElementType of litert/c/litert_model_types.h
// (google-ai-edge/LiteRT v2.2.0, Apache-2.0): one numbering.
static Type tflite_type(int number) {
    static const Type types[] = {[1] = FLOAT32,  [2] = INT32,   [3] = UINT8,   [4] = INT64,
                                 [6] = BOOL,     [7] = INT16,   [9] = INT8,    [10] = FLOAT16,
                                 [11] = FLOAT64, [13] = UINT64, [16] = UINT32, [17] = UINT16};
    bool known = number == 6 || (number > 0 && number < 18 && types[number] != BOOL);
    return known ? types[number] : OTHER;
}

static void declare(Quantised *tensor, int number, float scale, int64_t zero) {
    Type stored = tflite_type(number);
    bool integer = stored >= INT8 && stored <= UINT64;
    tensor->stored = stored;
    tensor->scale = integer ? scale : 0;
    tensor->zero = zero;
    tensor->declared.type = tensor->scale != 0 ? FLOAT32 : stored;
    tensor->declared.type_name = tensor->declared.type == OTHER
                                     ? (number == 5 ? "string" : "a type without arrays")
                                     : TYPES[tensor->declared.type].name;
}

static long double clipped(long double value, Type type) {
    static const long double limits[][2] = {
        [INT8] = {INT8_MIN, INT8_MAX},    [INT16] = {INT16_MIN, INT16_MAX},
        [INT32] = {INT32_MIN, INT32_MAX}, [INT64] = {INT64_MIN, INT64_MAX},
        [UINT8] = {0, UINT8_MAX},         [UINT16] = {0, UINT16_MAX},
        [UINT32] = {0, UINT32_MAX},       [UINT64] = {0, UINT64_MAX}};
    if (value < limits[type][0]) return limits[type][0];
    return value > limits[type][1] ? limits[type][1] : value;
}

// The array as the tensor stores it; single precision, as in `program/litert_model.py`.
static Array to_stored(const Quantised *tensor, const Array *array) {
    Array stored = blank(array->name, tensor->stored, array->shape, array->rank);
    if (tensor->scale == 0) memcpy(stored.data, array->data, array_bytes(array));
    for (size_t at = 0; tensor->scale != 0 && at < array->count; at++) {
        float whole = rintf((float)element(array, at) / tensor->scale) + (float)tensor->zero;
        set_element(&stored, at, isnan(whole) ? 0 : clipped(whole, tensor->stored));
    }
    return stored;
}

// The numbers that stored values stand for; an array of a type that has none stays empty.
static Array from_stored(const Quantised *tensor, const void *data, size_t bytes,
                         const int64_t *shape, size_t rank) {
    if (tensor->stored == OTHER)
        return (Array){.name = copy_of(tensor->declared.name, strlen(tensor->declared.name)),
                       .type = OTHER};
    Array stored = blank(tensor->declared.name, tensor->stored, shape, rank);
    if (array_bytes(&stored) > bytes)
        refused("output '%s' has %zu bytes, too few for its shape", tensor->declared.name, bytes);
    memcpy(stored.data, data, array_bytes(&stored));
    if (tensor->scale == 0) return stored;
    Array real = blank(tensor->declared.name, FLOAT32, shape, rank);
    for (size_t at = 0; at < real.count; at++)
        set_element(&real, at, ((float)element(&stored, at) - (float)tensor->zero) * tensor->scale);
    free(stored.name);
    free(stored.data);
    return real;
}

static _Noreturn void no_delegate(const char *version, const char *delegate, const char *has) {
    refused("LiteRT%s%s here has no '%s' delegate; it has %s", *version ? " " : "", version,
            delegate, has);
}
