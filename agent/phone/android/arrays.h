// Fixed inputs and reference outputs: made up, cast, cut into cases, compared, as in
// `program/arrays.py`.

static long double element(const Array *array, size_t at) {
    const char *data = array->data;
#define ELEMENT(type)                                                                              \
    {                                                                                              \
        type value;                                                                                \
        memcpy(&value, data + at * sizeof value, sizeof value);                                    \
        return (long double)value;                                                                 \
    }
    switch (array->type) {
        case BOOL: return data[at] != 0;
        case INT8: ELEMENT(int8_t)
        case INT16: ELEMENT(int16_t)
        case INT32: ELEMENT(int32_t)
        case INT64: ELEMENT(int64_t)
        case UINT8: ELEMENT(uint8_t)
        case UINT16: ELEMENT(uint16_t)
        case UINT32: ELEMENT(uint32_t)
        case UINT64: ELEMENT(uint64_t)
        case FLOAT16: {
            _Float16 half;
            memcpy(&half, data + at * 2, 2);
            return (long double)(double)half;
        }
        case FLOAT32: ELEMENT(float)
        case FLOAT64: ELEMENT(double)
        case OTHER: break;
    }
    return 0;
}

// Stores what is nearest to `value` in the array's type; an integer out of range becomes 0, which
// the caller finds out by reading it back. `long double` holds every number of every type exactly
// where it has 64 bits of mantissa or more: x86-64 (80-bit) and AArch64 (128-bit).
static void set_element(Array *array, size_t at, long double value) {
    char *data = array->data;
#define SET_INTEGER(type, least, most)                                                             \
    {                                                                                              \
        type whole =                                                                               \
            value >= (long double)(least) && value <= (long double)(most) ? (type)value : 0;       \
        memcpy(data + at * sizeof whole, &whole, sizeof whole);                                    \
        return;                                                                                    \
    }
    switch (array->type) {
        case BOOL: data[at] = value != 0; return;
        case INT8: SET_INTEGER(int8_t, INT8_MIN, INT8_MAX)
        case INT16: SET_INTEGER(int16_t, INT16_MIN, INT16_MAX)
        case INT32: SET_INTEGER(int32_t, INT32_MIN, INT32_MAX)
        case INT64: SET_INTEGER(int64_t, INT64_MIN, INT64_MAX)
        case UINT8: SET_INTEGER(uint8_t, 0, UINT8_MAX)
        case UINT16: SET_INTEGER(uint16_t, 0, UINT16_MAX)
        case UINT32: SET_INTEGER(uint32_t, 0, UINT32_MAX)
        case UINT64: SET_INTEGER(uint64_t, 0, UINT64_MAX)
        case FLOAT16: {
            _Float16 half = (_Float16)(double)value;
            memcpy(data + at * 2, &half, 2);
            return;
        }
        case FLOAT32: {
            float single = (float)value;
            memcpy(data + at * 4, &single, 4);
            return;
        }
        case FLOAT64: {
            double twice = (double)value;
            memcpy(data + at * 8, &twice, 8);
            return;
        }
        case OTHER: return;
    }
}

static char *shape_text(const int64_t *shape, size_t rank) {
    Text text = {0};
    text_string(&text, "[");
    for (size_t at = 0; at < rank; at++)
        text_format(&text, at ? ", %" PRId64 : "%" PRId64, shape[at]);
    text_string(&text, "]");
    return text.bytes;
}

static int by_name(const void *one, const void *other) {
    return strcmp(((const Array *)one)->name, ((const Array *)other)->name);
}

static char *names_text(Arrays arrays) {
    Text text = {0};
    text_string(&text, "");
    Array *sorted = take(arrays.count * sizeof *sorted);
    if (arrays.count) memcpy(sorted, arrays.items, arrays.count * sizeof *sorted);
    qsort(sorted, arrays.count, sizeof *sorted, by_name);
    for (size_t at = 0; at < arrays.count; at++)
        text_format(&text, at ? ", %s" : "%s", sorted[at].name);
    free(sorted);
    return text.bytes;
}

static const Array *find_array(Arrays arrays, const char *name) {
    for (size_t at = 0; at < arrays.count; at++)
        if (!strcmp(arrays.items[at].name, name)) return &arrays.items[at];
    return NULL;
}

// An array of a tensor's name and type, all zeros.
static Array blank(const char *name, Type type, const int64_t *shape, size_t rank) {
    Array array = {.name = copy_of(name, strlen(name)), .type = type, .rank = rank};
    if (rank) memcpy(array.shape, shape, rank * sizeof *shape);
    if (!count_elements(shape, rank, TYPES[type].size, &array.count))
        bad_inputs("tensor '%s' of shape %s is too large", name, shape_text(shape, rank));
    array.data = take(array_bytes(&array));
    return array;
}

// -- inputs

static void need_type(const Tensor *tensor) {
    if (tensor->type == OTHER)
        bad_inputs("input '%s' is of type %s, which needs fixed inputs of its own", tensor->name,
                   tensor->type_name);
}

// cos(0), cos(1) ... for floats, zeros for the rest, free dimensions of 1.
static Array made_up(const Tensor *tensor) {
    int64_t shape[MOST_DIMENSIONS];
    for (size_t at = 0; at < tensor->rank; at++)
        shape[at] = tensor->shape[at] < 0 ? 1 : tensor->shape[at];
    need_type(tensor);
    Array array = blank(tensor->name, tensor->type, shape, tensor->rank);
    if (is_float(array.type))
        for (size_t at = 0; at < array.count; at++) set_element(&array, at, cos((double)at));
    return array;
}

// The array in the model's type, when it says the same there.
static Array cast(const Array *array, const Tensor *tensor) {
    need_type(tensor);
    Array converted = blank(tensor->name, tensor->type, array->shape, array->rank);
    bool any_float = is_float(array->type) || is_float(tensor->type);
    bool both_float = is_float(array->type) && is_float(tensor->type);
    if (array->type == tensor->type) {
        memcpy(converted.data, array->data, array_bytes(array));
        return converted;
    }
    for (size_t at = 0; at < array->count; at++) {
        long double value = element(array, at);
        set_element(&converted, at, value);
        long double stored = element(&converted, at);
        // NumPy compares an integer with a float as doubles.
        bool same = any_float ? (double)stored == (double)value : stored == value;
        if (!both_float && !same)
            bad_inputs("input '%s' takes %s, not %s", tensor->name, tensor->type_name,
                       TYPES[array->type].name);
    }
    return converted;
}

static const Array *pick(Arrays inputs, const Tensor *tensor, size_t wanted) {
    const Array *found = find_array(inputs, tensor->name);
    if (!found && wanted == 1 && inputs.count == 1) found = &inputs.items[0];
    if (!found)
        bad_inputs("the fixed inputs have no array '%s'; they have %s", tensor->name,
                   names_text(inputs));
    return found;
}

static bool fits(const Array *array, const Tensor *tensor, size_t from) {
    if (array->rank != tensor->rank) return false;
    for (size_t at = from; at < array->rank; at++)
        if (tensor->shape[at] != -1 && tensor->shape[at] != array->shape[at]) return false;
    return true;
}

static bool same_length(Arrays arrays, int64_t *length) {
    for (size_t at = 0; at < arrays.count; at++) {
        const Array *array = &arrays.items[at];
        if (array->rank == 0 || (*length >= 0 && array->shape[0] != *length)) return false;
        *length = array->shape[0];
    }
    return true;
}

// How many samples one inference takes; 0 when the arrays are one inference as they are.
static int64_t batch_of(const Tensor *declared, Arrays inputs, Arrays expected) {
    int64_t length = -1;
    for (size_t at = 0; at < inputs.count; at++)
        if (!fits(&inputs.items[at], &declared[at], 1))
            bad_inputs("input '%s' takes shape %s, not %s", declared[at].name,
                       shape_text(declared[at].shape, declared[at].rank),
                       shape_text(inputs.items[at].shape, inputs.items[at].rank));
    bool one_length = same_length(inputs, &length) && same_length(expected, &length) && length > 0;
    bool one_batch = inputs.count > 0;
    for (size_t at = 1; at < inputs.count; at++)
        one_batch = one_batch && declared[at].shape[0] == declared[0].shape[0];
    if (one_length && one_batch) {
        int64_t batch = declared[0].shape[0] < 1 ? 1 : declared[0].shape[0];
        if (length % batch == 0) return batch;
    }
    for (size_t at = 0; at < inputs.count; at++)
        if (!fits(&inputs.items[at], &declared[at], 0))
            bad_inputs(
                "input '%s' takes shape %s, not %s; samples lie along the first axis, "
                "as many in every array and a multiple of the model's batch",
                declared[at].name, shape_text(declared[at].shape, declared[at].rank),
                shape_text(inputs.items[at].shape, inputs.items[at].rank));
    return 0;
}

// What to infer: `count` cases of `batch` samples each, the first of which is timed.
typedef struct {
    Arrays inputs, expected;
    int64_t batch;
    size_t count;
} Cases;

static Cases make_cases(const Tensor *declared, size_t wanted, Arrays inputs, Arrays expected) {
    Cases cases = {.inputs = {take(wanted * sizeof(Array)), wanted, 0}, .count = 1};
    for (size_t at = 0; at < wanted; at++)
        cases.inputs.items[at] = inputs.count == 0
                                     ? made_up(&declared[at])
                                     : cast(pick(inputs, &declared[at], wanted), &declared[at]);
    if (inputs.count == 0) return cases;
    cases.expected = expected;
    cases.batch = batch_of(declared, cases.inputs, expected);
    if (cases.batch) cases.count = (size_t)(cases.inputs.items[0].shape[0] / cases.batch);
    return cases;
}

// The arrays of one case: copies, so that each begins where a runtime likes tensors to begin.
static Arrays case_arrays(const Cases *cases, const Arrays *from, size_t number) {
    Arrays slices = {take(from->count * sizeof(Array)), from->count, 0};
    for (size_t at = 0; at < from->count; at++) {
        const Array *whole = &from->items[at];
        int64_t shape[MOST_DIMENSIONS];
        memcpy(shape, whole->shape, sizeof shape);
        if (cases->batch) shape[0] = cases->batch;
        Array slice = blank(whole->name, whole->type, shape, whole->rank);
        size_t bytes = array_bytes(&slice);
        memcpy(slice.data, (const char *)whole->data + number * bytes, bytes);
        slices.items[at] = slice;
    }
    return slices;
}

// -- outputs

// How far an output is from the reference over all cases, as `Error` of `program/arrays.py`.
typedef struct {
    bool broken;
    double largest, magnitude;
} Error;

static void compare_one(const Array *found, const Array *reference, Error *error) {
    bool same_shape = found->rank == reference->rank &&
                      !memcmp(found->shape, reference->shape, found->rank * sizeof(int64_t));
    if (found->type == OTHER)
        bad_inputs("output '%s' is of a type that cannot be compared", found->name);
    for (size_t at = 0; at < reference->count; at++) {
        double wanted = (double)element(reference, at);
        if (!isfinite(wanted)) bad_inputs("the reference of '%s' is not finite", reference->name);
        error->magnitude = fmax(error->magnitude, fabs(wanted));
        if (!same_shape) continue;
        double difference = fabs((double)element(found, at) - wanted);
        if (!isfinite(difference)) error->broken = true;
        else error->largest = fmax(error->largest, difference);
    }
    if (!same_shape) error->broken = true;
}

static void compare(Arrays outputs, Arrays expected, Error *errors) {
    for (size_t at = 0; at < expected.count; at++) {
        const Array *found = find_array(outputs, expected.items[at].name);
        if (!found && outputs.count == 1 && expected.count == 1) found = &outputs.items[0];
        if (!found)
            bad_inputs("the model has no output '%s'; it has %s", expected.items[at].name,
                       names_text(outputs));
        compare_one(found, &expected.items[at], &errors[at]);
    }
}
