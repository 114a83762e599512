// The answers: JSON lines on what was standard output, and the ends that a launch can come to.

typedef struct {
    char *bytes;
    size_t length, room;
} Text;

static int answers = -1;

static _Noreturn void leave(int code) {
    tap_stop();
    fflush(NULL);
    // No exit handlers: those of the runtimes would take time and may crash after the last answer.
    _exit(code);
}

static void text_bytes(Text *text, const char *bytes, size_t count) {
    if (text->room - text->length <= count) {
        size_t room = 2 * text->room + count + 256;
        char *grown = realloc(text->bytes, room);
        if (!grown) {
            fputs("distillfarm-runner: no memory for an answer\n", stderr);
            leave(1);
        }
        text->bytes = grown;
        text->room = room;
    }
    memcpy(text->bytes + text->length, bytes, count);
    text->length += count;
    text->bytes[text->length] = '\0';
}

static void text_string(Text *text, const char *string) {
    text_bytes(text, string, strlen(string));
}

__attribute__((format(printf, 2, 0))) static void text_vformat(Text *text, const char *format,
                                                               va_list list) {
    va_list again;
    va_copy(again, list);
    int length = vsnprintf(NULL, 0, format, list);
    char *formatted = length < 0 ? NULL : malloc((size_t)length + 1);
    if (formatted) {
        vsnprintf(formatted, (size_t)length + 1, format, again);
        text_bytes(text, formatted, (size_t)length);
        free(formatted);
    }
    va_end(again);
}

__attribute__((format(printf, 2, 3))) static void text_format(Text *text, const char *format, ...) {
    va_list list;
    va_start(list, format);
    text_vformat(text, format, list);
    va_end(list);
}

// Bytes of the well-formed UTF-8 sequence at `bytes`, 0 where there is none (RFC 3629).
static size_t utf8_length(const unsigned char *bytes) {
    unsigned char first = bytes[0], least = 0x80, most = 0xBF;
    size_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (first > 0xF4) return 0;
    if (first == 0xE0) least = 0xA0;  // no overlong forms
    if (first == 0xED) most = 0x9F;   // no surrogates
    if (first == 0xF0) least = 0x90;
    if (first == 0xF4) most = 0x8F;  // nothing above U+10FFFF
    for (size_t at = 1; at < length; at++, least = 0x80, most = 0xBF)
        if (bytes[at] < least || bytes[at] > most) return 0;
    return length;
}

static void text_json(Text *text, const char *string) {
    text_string(text, "\"");
    for (const unsigned char *at = (const unsigned char *)string; *at;) {
        size_t length = utf8_length(at);
        if (length == 0) text_string(text, "\\ufffd");
        else if (*at == '"' || *at == '\\') text_format(text, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7F) text_format(text, "\\u%04x", *at);
        else text_bytes(text, (const char *)at, length);
        at += length ? length : 1;
    }
    text_string(text, "\"");
}

static Text answer(const char *event) {
    Text text = {0};
    text_format(&text, "{\"event\": \"%s\"", event);
    return text;
}

static void answer_string(Text *text, const char *key, const char *value) {
    text_format(text, ", \"%s\": ", key);
    text_json(text, value);
}

static void answer_integer(Text *text, const char *key, int64_t value) {
    text_format(text, ", \"%s\": %" PRId64, key, value);
}

static void answer_integers(Text *text, const char *key, const int64_t *values, size_t count) {
    text_format(text, ", \"%s\": [", key);
    for (size_t at = 0; at < count; at++)
        text_format(text, at ? ", %" PRId64 : "%" PRId64, values[at]);
    text_string(text, "]");
}

static void say(Text *text) {
    text_string(text, "}\n");
    for (size_t done = 0; done < text->length;) {
        ssize_t step = write(answers, text->bytes + done, text->length - done);
        if (step < 0 && errno != EINTR) leave(1);
        if (step > 0) done += (size_t)step;
    }
    free(text->bytes);
}

static _Noreturn void end_with(const char *event, const char *reason) {
    Text text = answer(event);
    answer_string(&text, "reason", reason);
    say(&text);
    leave(0);
}

// Each of these is the last answer of a launch; see the classes in `program/model.py`.
#define LAST_ANSWER(name)                                                                          \
    __attribute__((format(printf, 1, 2))) static _Noreturn void name(const char *format, ...) {    \
        Text reason = {0};                                                                         \
        va_list list;                                                                              \
        va_start(list, format);                                                                    \
        text_vformat(&reason, format, list);                                                       \
        va_end(list);                                                                              \
        end_with(#name, reason.bytes ? reason.bytes : #name);                                      \
    }
LAST_ANSWER(refused)
LAST_ANSWER(out_of_memory)
LAST_ANSWER(bad_inputs)
LAST_ANSWER(missing)

// What an error of a runtime means; the words are those of `program/model.py`.
static _Noreturn void runtime_failure(const char *said) {
    static const char *const no_memory[] = {"bad_alloc", "bad allocation",
                                            "Failed to allocate memory", "out of memory"};
    Text text = {0};
    text_string(&text, "");
    for (const char *at = said; *at; at++) {  // one line, single spaces
        bool blank = isspace((unsigned char)*at);
        if (!blank) text_bytes(&text, at, 1);
        else if (text.length && text.bytes[text.length - 1] != ' ') text_bytes(&text, " ", 1);
    }
    for (size_t at = 0; at < sizeof no_memory / sizeof *no_memory; at++)
        if (strstr(text.bytes, no_memory[at])) out_of_memory("%s", text.bytes);
    refused("%s", text.length ? text.bytes : "the runtime gave no reason");
}

// Memory of our own, aligned as runtimes like it for their tensors.
static void *take(size_t bytes) {
    void *taken = NULL;
    if (bytes > SIZE_MAX / 2 || posix_memalign(&taken, 64, bytes + 64))
        out_of_memory("allocation of %zu bytes refused", bytes);
    memset(taken, 0, bytes + 64);
    return taken;
}

static char *copy_of(const char *string, size_t length) {
    char *copy = take(length + 1);
    memcpy(copy, string, length);
    return copy;
}
