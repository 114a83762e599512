// What the launch needs of a runtime; see `program/model.py` for its Python twin.

typedef struct {
    const char *runtime, *library, *delegate, *model, *inputs, *expected, *cold, *cache;
    // What the library is called where it came from, for one that does not tell; may be empty.
    const char *version;
    int64_t threads, max_warmup, iterations, least, kept;
    double max_sampling_s;
} Order;

// An input as the model declares it; a dimension of -1 is free.
typedef struct {
    char *name;
    Type type;
    const char *type_name;
    size_t rank;
    int64_t shape[MOST_DIMENSIONS];
} Tensor;

// How many operators a back end took, in the runtime's word.
typedef struct {
    char unit[64];
    int64_t nodes;
} Placed;

enum { MOST_PLACED = 32 };

typedef struct {
    Placed items[MOST_PLACED];
    size_t count;
    const char *source;  // of the evidence; empty where the runtime tells nothing
} Placements;

// Calls come in this order; each ends the launch with an answer if the runtime fails.
typedef struct {
    // Prepares the library that was opened; its version, empty where it tells none.
    const char *(*open)(const Order *order, void *library);
    // Loads and compiles the model.
    void (*load)(const Order *order);
    const Tensor *(*inputs)(size_t *count);
    // Fixes the inputs, in the order of `inputs`.
    void (*bind)(const Array *arrays);
    // One inference and nothing else: what is timed.
    void (*invoke)(void);
    // Copies of the outputs of the last inference.
    Arrays (*outputs)(void);
    // Which back end took how many operators; after everything was measured.
    Placements (*placements)(const Order *order);
} Runtime;

static void place(Placements *placements, const char *unit, int64_t nodes) {
    if (nodes <= 0) return;
    for (size_t at = 0; at < placements->count; at++)
        if (!strcmp(placements->items[at].unit, unit)) {
            placements->items[at].nodes += nodes;
            return;
        }
    if (placements->count == MOST_PLACED) return;
    Placed *placed = &placements->items[placements->count++];
    snprintf(placed->unit, sizeof placed->unit, "%s", unit);
    placed->nodes = nodes;
}

static void upper(char *into, size_t room, const char *from) {
    size_t at = 0;
    for (; from[at] && at + 1 < room; at++) into[at] = (char)toupper((unsigned char)from[at]);
    into[at] = '\0';
}

static void free_arrays(Arrays *arrays) {
    for (size_t at = 0; at < arrays->count; at++) {
        free(arrays->items[at].name);
        free(arrays->items[at].data);
    }
    free(arrays->items);
    *arrays = (Arrays){0};
}

// The functions of a library that a table `X(result, name, parameters)` declares, by dlsym.
#define DECLARE_SYMBOL(result, name, parameters) result(*name) parameters;
#define FIND_SYMBOL(result, name, parameters)                                                      \
    {                                                                                              \
        void *found = dlsym(library, #name);                                                       \
        memcpy(&symbols.name, &found, sizeof found);                                               \
        if (!found && !absent) absent = #name;                                                     \
    }
