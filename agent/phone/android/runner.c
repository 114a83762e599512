// distillfarm-runner: measures one model in one fresh process, on a phone or a Linux board.
//
// It opens ONNX Runtime or LiteRT at run time, loads the model, makes one inference, warms up,
// takes raw samples, compares the outputs with a reference and collects evidence of which back end
// took which operators. What it finds out it says in JSON lines on standard output, the same as
// `python -m distillfarm.agent.program`, whose twin it is; `runners/reports.py` reads both.
// Whatever a runtime prints goes to standard error.
//
// One translation unit: the headers beside it hold its parts, from the plainest to this one.

#define _GNU_SOURCE
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOST_SAMPLING_S 1e9
#define MOST_INFERENCES 1000000000000
#define MOST_KEPT 10000000

static const char *runtime_version = "";

// clang-format off: each uses what those before it define
#include "stderr_tap.h"
#include "answers.h"
#include "npz.h"
#include "model.h"
#include "arrays.h"
#include "system.h"
#include "loop.h"
#include "onnxruntime.h"
#include "quantised.h"
#include "tflite.h"
#include "litert.h"
// clang-format on

static const char LAUNCH_NS[] = "DISTILLFARM_LAUNCH_NS";
static const char RESIDENT[] = "DISTILLFARM_PAGE_CACHE_RESIDENT";
static const char NEW_PROCESS[] = "new_process";
static const char PAGE_CACHE_DROPPED[] = "page_cache_dropped";
static const char FIRST_EVER[] = "first_ever";

// -- the order

__attribute__((format(printf, 1, 2))) static _Noreturn void misused(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fputs("distillfarm-runner: ", stderr);
    vfprintf(stderr, format, list);
    fputs("\n", stderr);
    va_end(list);
    leave(2);
}

static int64_t integer(const char *key, const char *text, int64_t least, int64_t most) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < least || value > most)
        misused("%s=%s is no whole number from %" PRId64 " to %" PRId64, key, text, least, most);
    return value;
}

static double seconds(const char *key, const char *text) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= MOST_SAMPLING_S))
        misused("%s=%s is no number of seconds from 0 to %g", key, text, MOST_SAMPLING_S);
    return value;
}

static Order read_order(int count, char **arguments) {
    const char *threads, *max_warmup, *iterations, *max_sampling_s, *least, *kept;
    Order order;
    const struct {
        const char *key;
        const char **value;
    } keys[] = {{"runtime", &order.runtime},   {"library", &order.library},
                {"delegate", &order.delegate}, {"model", &order.model},
                {"inputs", &order.inputs},     {"expected", &order.expected},
                {"threads", &threads},         {"max_warmup", &max_warmup},
                {"iterations", &iterations},   {"max_sampling_s", &max_sampling_s},
                {"cold", &order.cold},         {"cache", &order.cache},
                {"least", &least},             {"kept", &kept},
                {"version", &order.version}};
    enum { KEYS = sizeof keys / sizeof *keys };
    for (size_t at = 0; at < KEYS; at++) *keys[at].value = NULL;
    for (int number = 1; number < count; number++) {
        const char *argument = arguments[number], *equals = strchr(argument, '=');
        size_t at = 0, length = equals ? (size_t)(equals - argument) : 0;
        while (at < KEYS && (!equals || strlen(keys[at].key) != length ||
                             strncmp(keys[at].key, argument, length)))
            at++;
        if (at == KEYS)
            misused("argument '%s' is not of the form key=value with a known key", argument);
        if (*keys[at].value) misused("%s= is given twice", keys[at].key);
        *keys[at].value = equals + 1;
    }
    for (size_t at = 0; at < KEYS; at++)
        if (!*keys[at].value) misused("%s= is missing", keys[at].key);
    order.threads = integer("threads", threads, 1, 1024);
    order.max_warmup = integer("max_warmup", max_warmup, 0, 1000000);
    order.iterations = integer("iterations", iterations, 0, MOST_INFERENCES);
    order.max_sampling_s = seconds("max_sampling_s", max_sampling_s);
    order.least = integer("least", least, 0, MOST_INFERENCES);
    order.kept = integer("kept", kept, 2, MOST_KEPT);
    if (strcmp(order.runtime, "onnxruntime") && strcmp(order.runtime, "litert"))
        misused("runtime=%s is neither onnxruntime nor litert", order.runtime);
    if (strcmp(order.cold, NEW_PROCESS) && strcmp(order.cold, PAGE_CACHE_DROPPED) &&
        strcmp(order.cold, FIRST_EVER))
        misused("cold=%s is none of %s, %s, %s", order.cold, NEW_PROCESS, PAGE_CACHE_DROPPED,
                FIRST_EVER);
    return order;
}

// -- the cold start: done by a process before the one that is measured

static bool drops_pages(const Order *order) { return strcmp(order->cold, NEW_PROCESS) != 0; }

static void make_cold(const Order *order) {
    Residency residency = {0};
    char share[32];
    if (!drops_pages(order)) return;
    if (!strcmp(order->cold, FIRST_EVER) && *order->cache) empty_folder(order->cache);
    drop_pages(order->model, &residency);
    drop_pages(order->library, &residency);
    snprintf(share, sizeof share, "%.6f",
             residency.pages ? (double)residency.resident / (double)residency.pages : 0.0);
    setenv(RESIDENT, share, 1);
}

// Replaces this process by a fresh one of the same program, so that dynamic linking counts.
static _Noreturn void start_anew(char **arguments) {
    char launch_ns[24];
    snprintf(launch_ns, sizeof launch_ns, "%" PRId64, now_ns());
    setenv(LAUNCH_NS, launch_ns, 1);
    execv("/proc/self/exe", arguments);
    execv(arguments[0], arguments);
    misused("cannot start itself again: %s", strerror(errno));
}

// -- the launch

static int take_stdout(void) {
    int kept = fcntl(1, F_DUPFD_CLOEXEC, 3);
    if (kept < 0 || dup2(2, 1) < 0) misused("standard output or error is closed");
    return kept;
}

static const Runtime *choose_runtime(const Order *order, void *library) {
    if (!strcmp(order->runtime, "onnxruntime")) return &ONNXRUNTIME;
    if (dlsym(library, "LiteRtCreateCompiledModel")) return &LITERT;
    if (dlsym(library, "TfLiteInterpreterCreate")) return &TFLITE;
    missing("%s exports neither the C API of LiteRT nor that of TensorFlow Lite", order->library);
}

static const Runtime *open_runtime(const Order *order) {
    void *library = dlopen(order->library, RTLD_NOW | RTLD_LOCAL);
    if (!library) missing("%s", dlerror());
    const Runtime *runtime = choose_runtime(order, library);
    runtime_version = runtime->open(order, library);
    if (!*runtime_version) runtime_version = order->version;
    return runtime;
}

static void bind_case(const Runtime *runtime, const Cases *cases, size_t number) {
    Arrays inputs = case_arrays(cases, &cases->inputs, number);
    runtime->bind(inputs.items);
    free_arrays(&inputs);
}

static void compare_case(const Runtime *runtime, const Cases *cases, size_t number, Error *errors) {
    if (!cases->expected.count) return;
    Arrays outputs = runtime->outputs();
    Arrays expected = case_arrays(cases, &cases->expected, number);
    compare(outputs, expected, errors);
    free_arrays(&outputs);
    free_arrays(&expected);
}

// What `finished` tells; times in nanoseconds.
typedef struct {
    int64_t first_output, runtime, load, first_inference, sampling_began, sampling_ended;
    int64_t *warmup, *samples;
    size_t warmup_count;
    Sampled sampled;
    int64_t baseline_bytes, loaded_bytes, peak_bytes, resident_bytes;
} Measured;

static void say_duration(const char *event, const char *key, int64_t duration_ns) {
    Text text = answer(event);
    if (!strcmp(event, "runtime")) answer_string(&text, "version", runtime_version);
    answer_integer(&text, key, duration_ns);
    say(&text);
}

static void answer_memory(Text *text, const Measured *measured) {
    text_string(text, ", \"memory\": {\"peak_method\": \"VmHWM\"");
    answer_integer(text, "baseline_bytes", measured->baseline_bytes);
    answer_integer(text, "loaded_bytes", measured->loaded_bytes);
    answer_integer(text, "peak_bytes", measured->peak_bytes);
    bool resident = measured->resident_bytes >= 0;
    answer_string(text, "resident_method", resident ? "PSS" : "");
    if (resident) answer_integer(text, "resident_bytes", measured->resident_bytes);
    else text_string(text, ", \"resident_bytes\": null");
    text_string(text, "}");
}

static int by_nodes(const void *one, const void *other) {
    int64_t first = ((const Placed *)one)->nodes, second = ((const Placed *)other)->nodes;
    return (first < second) - (first > second);
}

static void answer_placements(Text *text, Placements placements) {
    qsort(placements.items, placements.count, sizeof(Placed), by_nodes);
    text_string(text, ", \"placements\": [");
    for (size_t at = 0; at < placements.count; at++) {
        text_string(text, at ? ", {\"unit\": " : "{\"unit\": ");
        text_json(text, placements.items[at].unit);
        text_format(text, ", \"nodes\": %" PRId64 "}", placements.items[at].nodes);
    }
    text_string(text, "]");
    answer_string(text, "placements_source", placements.source);
}

static void answer_errors(Text *text, Arrays expected, const Error *errors) {
    text_string(text, ", \"errors\": [");
    for (size_t at = 0; at < expected.count; at++) {
        text_string(text, at ? ", {\"name\": " : "{\"name\": ");
        text_json(text, expected.items[at].name);
        if (errors[at].broken) text_string(text, ", \"largest\": null");
        else text_format(text, ", \"largest\": %.17g", errors[at].largest);
        text_format(text, ", \"magnitude\": %.17g}", errors[at].magnitude);
    }
    text_string(text, "]");
}

static void answer_cold_start(Text *text, const Order *order) {
    answer_string(text, "cold_start", order->cold);
    if (drops_pages(order)) text_format(text, ", \"page_cache_resident\": %s", getenv(RESIDENT));
}

static void say_finished(const Order *order, const Measured *measured, Placements placements,
                         Arrays expected, const Error *errors) {
    Text text = answer("finished");
    answer_integer(&text, "first_output_ns", measured->first_output);
    answer_integer(&text, "runtime_ns", measured->runtime);
    answer_integer(&text, "load_ns", measured->load);
    answer_integer(&text, "first_inference_ns", measured->first_inference);
    answer_integers(&text, "warmup_ns", measured->warmup, measured->warmup_count);
    answer_integers(&text, "samples_ns", measured->samples, measured->sampled.kept);
    answer_integer(&text, "inferences", (int64_t)measured->sampled.inferences);
    answer_integer(&text, "sampling_began_ns", measured->sampling_began);
    answer_integer(&text, "sampling_ended_ns", measured->sampling_ended);
    answer_memory(&text, measured);
    answer_placements(&text, placements);
    answer_errors(&text, expected, errors);
    answer_string(&text, "version", runtime_version);
    answer_cold_start(&text, order);
    say(&text);
}

static void measure_loops(const Order *order, const Runtime *runtime, Measured *measured) {
    int64_t most = order->iterations < order->least ? order->least : order->iterations;
    Extent extent = {(size_t)most, (size_t)order->least, (size_t)order->kept,
                     order->max_sampling_s};
    measured->warmup = take((size_t)order->max_warmup * sizeof(int64_t));
    // Written to, so that no page is missing.
    measured->samples = take(room_for(extent) * sizeof(int64_t));
    measured->warmup_count = warm_up(runtime->invoke, measured->warmup, (size_t)order->max_warmup);
    measured->sampling_began = window_ns();
    measured->sampled = sample(runtime->invoke, measured->samples, extent);
    measured->sampling_ended = window_ns();
    measured->peak_bytes = peak_bytes();
    measured->resident_bytes = resident_bytes();
}

// Runtime, model, first inference, warm-up, samples, evidence; in this order. What only the
// measuring needs is left out of the time to the first output.
static void launch(const Order *order, int64_t launched_ns) {
    Measured measured = {0};
    size_t input_count;

    int64_t begin_ns = now_ns();
    const Runtime *runtime = open_runtime(order);
    int64_t opened_ns = now_ns();
    measured.runtime = opened_ns - begin_ns;
    measured.baseline_bytes = peak_bytes();
    say_duration("runtime", "runtime_ns", measured.runtime);
    tap_start();

    begin_ns = now_ns();
    int64_t ours_ns = begin_ns - opened_ns;
    runtime->load(order);
    int64_t loaded_ns = now_ns();
    measured.load = loaded_ns - begin_ns;
    measured.loaded_bytes = peak_bytes();
    say_duration("loaded", "load_ns", measured.load);

    const Tensor *declared = runtime->inputs(&input_count);
    Arrays inputs = read_npz(order->inputs), expected = read_npz(order->expected);
    Cases cases = make_cases(declared, input_count, inputs, expected);
    Error *errors = take(cases.expected.count * sizeof *errors);
    ours_ns += now_ns() - loaded_ns;

    bind_case(runtime, &cases, 0);
    begin_ns = now_ns();
    runtime->invoke();
    int64_t done_ns = now_ns();
    measured.first_inference = done_ns - begin_ns;
    measured.first_output = done_ns - launched_ns - ours_ns;
    compare_case(runtime, &cases, 0, errors);
    say_duration("first", "first_inference_ns", measured.first_inference);
    tap_stop();

    measure_loops(order, runtime, &measured);
    for (size_t number = 1; number < cases.count; number++) {
        bind_case(runtime, &cases, number);
        runtime->invoke();
        compare_case(runtime, &cases, number, errors);
    }
    say_finished(order, &measured, runtime->placements(order), cases.expected, errors);
}

int main(int count, char **arguments) {
    Order order = read_order(count, arguments);
    const char *launched = getenv(LAUNCH_NS);
    if (!launched) {
        make_cold(&order);
        start_anew(arguments);
    }
    if (drops_pages(&order) && !getenv(RESIDENT))
        misused("cold=%s needs %s to be unset: this program starts itself", order.cold, LAUNCH_NS);
    setenv("ORT_DISABLE_TELEMETRY", "1", 1);
    answers = take_stdout();
    launch(&order, atoll(launched));
    leave(0);
}
