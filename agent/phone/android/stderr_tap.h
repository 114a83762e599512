// A listener on standard error: forwards every byte and remembers the few lines that tell
// something.
//
// TFLite and LiteRT say in their log alone why they refuse a model, and whether XNNPACK came in
// unasked. The listener runs from before the model is loaded until its first inference is done,
// never while anything is sampled. However much a runtime prints, no more than one line is kept.

enum { LONGEST_LINE = 1024 };

static struct {
    int real;  // standard error as it was, -1 while nobody listens
    int pipe;
    pthread_t thread;
    char line[LONGEST_LINE];
    size_t length;
    bool own_xnnpack;  // TFLite's default delegate, which nobody asked for by name
    char error[LONGEST_LINE];
} tap = {.real = -1};

static void tap_read_line(void) {
    tap.line[tap.length] = '\0';
    if (strstr(tap.line, "XNNPACK delegate for CPU")) tap.own_xnnpack = true;
    if (!strncmp(tap.line, "ERROR: ", 7)) snprintf(tap.error, LONGEST_LINE, "%s", tap.line + 7);
    tap.length = 0;
}

static void *tap_listen(void *unused) {
    char bytes[4096];
    ssize_t got;
    while ((got = read(tap.pipe, bytes, sizeof bytes)) > 0) {
        for (ssize_t done = 0, step; done < got; done += step)
            if ((step = write(tap.real, bytes + done, (size_t)(got - done))) <= 0) break;
        for (ssize_t at = 0; at < got; at++) {
            if (bytes[at] == '\n') tap_read_line();
            else if (tap.length + 1 < LONGEST_LINE)
                tap.line[tap.length++] = bytes[at] ? bytes[at] : ' ';
        }
    }
    tap_read_line();
    return unused;
}

// Without a pipe or a thread nobody listens, and what only the log tells stays unknown.
static void tap_start(void) {
    int ends[2], real = dup(2);
    if (real < 0) return;
    if (pipe(ends)) {
        close(real);
        return;
    }
    tap.pipe = ends[0];
    tap.real = real;
    if (pthread_create(&tap.thread, NULL, tap_listen, NULL) == 0) {
        dup2(ends[1], 1);
        dup2(ends[1], 2);
    } else {
        tap.real = -1;
        close(real);
        close(ends[0]);
    }
    close(ends[1]);
}

static void tap_stop(void) {
    if (tap.real < 0) return;
    fflush(stdout);
    fflush(stderr);
    dup2(tap.real, 1);
    dup2(tap.real, 2);  // the pipe has no writer left, which ends the listener
    pthread_join(tap.thread, NULL);
    close(tap.pipe);
    close(tap.real);
    tap.real = -1;
}
