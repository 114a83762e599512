// The .npz reader: a zip of uncompressed .npy files, every byte of it untrusted.
//
// Formats: APPNOTE.TXT 6.3.10 of PKWARE (zip), `numpy/lib/format.py` (npy 1.0 to 3.0). Sizes are
// taken from the central directory alone, since NumPy leaves them open in the local headers.

typedef enum {
    BOOL,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    OTHER
} Type;

static const struct {
    const char *name;
    const char *npy;
    size_t size;
} TYPES[] = {
    [BOOL] = {"bool", "b1", 1},       [INT8] = {"int8", "i1", 1},
    [INT16] = {"int16", "i2", 2},     [INT32] = {"int32", "i4", 4},
    [INT64] = {"int64", "i8", 8},     [UINT8] = {"uint8", "u1", 1},
    [UINT16] = {"uint16", "u2", 2},   [UINT32] = {"uint32", "u4", 4},
    [UINT64] = {"uint64", "u8", 8},   [FLOAT16] = {"float16", "f2", 2},
    [FLOAT32] = {"float32", "f4", 4}, [FLOAT64] = {"float64", "f8", 8},
    [OTHER] = {"other", "", 0},  // what no array of ours can hold
};

enum { MOST_DIMENSIONS = 16, MOST_ARRAYS = 4096, LONGEST_NPY_HEADER = 10000 };

typedef struct {
    char *name;
    Type type;
    size_t rank;
    int64_t shape[MOST_DIMENSIONS];
    size_t count;  // elements
    void *data;
} Array;

typedef struct {
    Array *items;
    size_t count;
    size_t bytes;
} Arrays;

typedef struct {
    const uint8_t *bytes;
    size_t size;
} Bytes;

#define UNREADABLE(...) bad_inputs("the file of fixed arrays cannot be read: " __VA_ARGS__)

static size_t array_bytes(const Array *array) { return array->count * TYPES[array->type].size; }

static bool is_float(Type type) { return type >= FLOAT16 && type <= FLOAT64; }

// The number of elements of a shape; false where it or its bytes pass what can be addressed.
static bool count_elements(const int64_t *shape, size_t rank, size_t size, size_t *count) {
    size_t product = 1;
    bool empty = false;
    for (size_t at = 0; at < rank; at++) {
        if (shape[at] < 0) return false;
        if (shape[at] == 0) empty = true;
        else if (__builtin_mul_overflow(product, (size_t)shape[at], &product)) return false;
    }
    size_t bytes;
    if (__builtin_mul_overflow(product, size, &bytes) || bytes > SIZE_MAX / 4) return false;
    *count = empty ? 0 : product;
    return true;
}

static uint32_t little(const uint8_t *bytes, int count) {
    uint32_t value = 0;
    for (int at = count - 1; at >= 0; at--) value = value << 8 | bytes[at];
    return value;
}

static uint32_t crc32_of(const uint8_t *bytes, size_t size) {
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t at = 0; at < 256; at++) {
            uint32_t value = at;
            for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0xEDB88320u : 0);
            table[at] = value;
        }
    uint32_t crc = ~0u;
    for (size_t at = 0; at < size; at++) crc = crc >> 8 ^ table[(crc ^ bytes[at]) & 0xFF];
    return ~crc;
}

// -- the header of one .npy: a Python dict of three known keys

typedef struct {
    const char *at, *end;
    const char *name;  // of the array, for what is said
} Header;

static void skip_blanks(Header *header) {
    while (header->at < header->end && isspace((unsigned char)*header->at)) header->at++;
}

static bool skip(Header *header, char wanted) {
    skip_blanks(header);
    if (header->at == header->end || *header->at != wanted) return false;
    header->at++;
    return true;
}

static void expect(Header *header, char wanted) {
    if (!skip(header, wanted))
        UNREADABLE("array '%s' has a header without the expected '%c'", header->name, wanted);
}

static void read_quoted(Header *header, char *into, size_t room) {
    skip_blanks(header);
    char quote = skip(header, '\'') ? '\'' : skip(header, '"') ? '"' : '\0';
    size_t length = 0;
    if (!quote) UNREADABLE("array '%s' is a record, or its header is damaged", header->name);
    while (header->at < header->end && *header->at != quote && length + 1 < room)
        into[length++] = *header->at++;
    into[length] = '\0';
    expect(header, quote);
}

static bool read_truth(Header *header) {
    skip_blanks(header);
    size_t left = (size_t)(header->end - header->at);
    bool yes = left >= 4 && !memcmp(header->at, "True", 4);
    if (!yes && !(left >= 5 && !memcmp(header->at, "False", 5)))
        UNREADABLE("array '%s' has a damaged fortran_order", header->name);
    header->at += yes ? 4 : 5;
    return yes;
}

static void read_shape(Header *header, Array *array) {
    expect(header, '(');
    while (!skip(header, ')')) {
        int64_t length = 0;
        const char *begin = header->at;
        for (; header->at < header->end && isdigit((unsigned char)*header->at); header->at++)
            if (__builtin_mul_overflow(length, 10, &length) ||
                __builtin_add_overflow(length, *header->at - '0', &length))
                UNREADABLE("array '%s' has a length that is too large", header->name);
        if (header->at == begin || array->rank == MOST_DIMENSIONS)
            UNREADABLE("array '%s' has a damaged shape, or more than %d dimensions", header->name,
                       MOST_DIMENSIONS);
        array->shape[array->rank++] = length;
        if (!skip(header, ',')) {
            expect(header, ')');
            break;
        }
    }
}

static Type read_type(const char *descr, const char *name) {
    const char *kind = descr + 1;
    for (Type type = BOOL; type < OTHER; type++) {
        if (*descr && strcmp(kind, TYPES[type].npy)) continue;
        if (*descr == '<' || (TYPES[type].size == 1 && (*descr == '|' || *descr == '=')))
            return type;
        if (*descr == '>' && TYPES[type].size > 1)
            UNREADABLE("array '%s' is big-endian (%s); it has to be little-endian", name, descr);
    }
    if (!strcmp(kind, "O")) UNREADABLE("array '%s' holds pickled objects", name);
    UNREADABLE("array '%s' is of type %s; only numbers and bool are read", name, descr);
}

static void read_npy_header(Header header, Array *array) {
    char key[32], descr[32] = "";
    bool typed = false, ordered = false, shaped = false;
    expect(&header, '{');
    while (!skip(&header, '}')) {
        read_quoted(&header, key, sizeof key);
        expect(&header, ':');
        if (!strcmp(key, "descr") && !typed) {
            read_quoted(&header, descr, sizeof descr);
            typed = true;
        } else if (!strcmp(key, "fortran_order") && !ordered) {
            if (read_truth(&header))
                UNREADABLE("array '%s' is in Fortran order; save it in C order", array->name);
            ordered = true;
        } else if (!strcmp(key, "shape") && !shaped) {
            read_shape(&header, array);
            shaped = true;
        } else {
            UNREADABLE("array '%s' has a header with the unexpected key '%s'", array->name, key);
        }
        if (!skip(&header, ',')) {
            expect(&header, '}');
            break;
        }
    }
    if (!typed || !ordered || !shaped) UNREADABLE("array '%s' has half a header", array->name);
    array->type = read_type(descr, array->name);
}

static void read_npy(Bytes file, Array *array) {
    if (file.size < 10 || memcmp(file.bytes, "\x93NUMPY", 6))
        UNREADABLE("'%s' is no .npy", array->name);
    int version = file.bytes[6];
    if (version < 1 || version > 3) UNREADABLE("'%s' is of .npy version %d", array->name, version);
    size_t lead = version == 1 ? 10 : 12;
    if (file.size < lead) UNREADABLE("'%s' is cut off", array->name);
    size_t length = little(file.bytes + 8, version == 1 ? 2 : 4);
    if (length > LONGEST_NPY_HEADER || length > file.size - lead)
        UNREADABLE("array '%s' claims a header of %zu bytes", array->name, length);
    const char *text = (const char *)file.bytes + lead;
    read_npy_header((Header){text, text + length, array->name}, array);
    size_t size = file.size - lead - length;
    if (!count_elements(array->shape, array->rank, TYPES[array->type].size, &array->count) ||
        array_bytes(array) != size)
        UNREADABLE("array '%s' has %zu bytes, which is not what its shape needs", array->name,
                   size);
    array->data = take(size);  // a zip aligns nothing
    memcpy(array->data, text + length, size);
}

// -- the zip around them

enum { END_SIZE = 22, ENTRY_SIZE = 46, LOCAL_SIZE = 30 };

static Bytes part(Bytes file, size_t offset, size_t size) {
    if (offset > file.size || size > file.size - offset) UNREADABLE("it is cut off");
    return (Bytes){file.bytes + offset, size};
}

static Bytes find_end(Bytes file) {
    for (size_t back = END_SIZE; back <= file.size && back <= END_SIZE + 0xFFFF; back++) {
        const uint8_t *at = file.bytes + file.size - back;
        if (!memcmp(at, "PK\5\6", 4) && little(at + 20, 2) == back - END_SIZE)
            return (Bytes){at, back};
    }
    UNREADABLE("it is no zip, or cut off");
}

// The bytes of the file that a directory entry stands for.
static Bytes entry_content(Bytes file, const uint8_t *entry, const char *name) {
    uint32_t packed = little(entry + 20, 4), size = little(entry + 24, 4);
    uint32_t offset = little(entry + 42, 4);
    if (little(entry + 8, 2) & 1) UNREADABLE("'%s' is encrypted", name);
    if (little(entry + 10, 2) != 0 || packed != size)
        UNREADABLE("'%s' is compressed; it has to be stored as it is", name);
    if (size == UINT32_MAX || offset == UINT32_MAX) UNREADABLE("'%s' passes 4 GiB", name);
    Bytes local = part(file, offset, LOCAL_SIZE);
    if (memcmp(local.bytes, "PK\3\4", 4)) UNREADABLE("'%s' is not where it should be", name);
    size_t lead = LOCAL_SIZE + little(local.bytes + 26, 2) + little(local.bytes + 28, 2);
    Bytes content = part(file, offset + lead, size);
    if (crc32_of(content.bytes, size) != little(entry + 16, 4))
        UNREADABLE("'%s' is damaged: its checksum is wrong", name);
    return content;
}

static void read_entry(Bytes file, const uint8_t *entry, Bytes name, Arrays *arrays) {
    Array array = {.name = copy_of((const char *)name.bytes, name.size)};
    if (memchr(name.bytes, '\0', name.size)) UNREADABLE("a name in it has a NUL");
    Bytes content = entry_content(file, entry, array.name);
    arrays->bytes += content.size;
    if (arrays->bytes > file.size) UNREADABLE("its entries lie over one another");
    size_t length = strlen(array.name);
    if (length > 4 && !strcmp(array.name + length - 4, ".npy")) array.name[length - 4] = '\0';
    for (size_t at = 0; at < arrays->count; at++)
        if (!strcmp(arrays->items[at].name, array.name))
            UNREADABLE("it has two arrays '%s'", array.name);
    read_npy(content, &array);
    arrays->items[arrays->count++] = array;
}

static Arrays read_zip(Bytes file) {
    Bytes end = find_end(file);
    size_t count = little(end.bytes + 10, 2), size = little(end.bytes + 12, 4);
    if (count != little(end.bytes + 8, 2)) UNREADABLE("it is one part of a split zip");
    if (count > MOST_ARRAYS) UNREADABLE("it has %zu entries, limit %d", count, MOST_ARRAYS);
    Bytes directory = part(file, little(end.bytes + 16, 4), size);
    Arrays arrays = {take(count * sizeof(Array)), 0, 0};
    for (size_t at = 0; count > 0; count--) {
        Bytes entry = part(directory, at, ENTRY_SIZE);
        if (memcmp(entry.bytes, "PK\1\2", 4)) UNREADABLE("its directory is damaged");
        Bytes name = part(directory, at + ENTRY_SIZE, little(entry.bytes + 28, 2));
        read_entry(file, entry.bytes, name, &arrays);
        at += ENTRY_SIZE + name.size + little(entry.bytes + 30, 2) + little(entry.bytes + 32, 2);
    }
    return arrays;
}

// The arrays of an .npz; none for an empty path.
static Arrays read_npz(const char *path) {
    Arrays none = {NULL, 0, 0};
    if (!*path) return none;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (file < 0 || fstat(file, &about)) UNREADABLE("%s", strerror(errno));
    if (!S_ISREG(about.st_mode) || about.st_size == 0) UNREADABLE("it is no file, or an empty one");
    void *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED) UNREADABLE("%s", strerror(errno));
    close(file);
    Arrays arrays = read_zip((Bytes){bytes, (size_t)about.st_size});
    munmap(bytes, (size_t)about.st_size);
    return arrays;
}
