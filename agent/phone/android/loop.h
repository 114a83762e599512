// The timed loops, as in `program/loop.py`: warm-up until stationary, then raw samples.

enum { BLOCK = 5, LEAST_SAMPLES = 10 };

static size_t sample(void (*invoke)(void), int64_t *samples, size_t count, double max_s,
                     size_t least) {
    int64_t deadline_ns = now_ns() + (int64_t)(max_s * 1e9);
    for (size_t at = 0; at < count; at++) {
        int64_t begin_ns = now_ns();
        invoke();
        samples[at] = now_ns() - begin_ns;
        if (begin_ns > deadline_ns && at + 1 >= least) return at + 1;
    }
    return count;
}

static int64_t median(const int64_t *samples, size_t count) {
    int64_t sorted[BLOCK];
    for (size_t at = 0; at < count; at++) {
        size_t place_at = at;
        for (; place_at > 0 && sorted[place_at - 1] > samples[at]; place_at--)
            sorted[place_at] = sorted[place_at - 1];
        sorted[place_at] = samples[at];
    }
    return sorted[count / 2];
}

// Blocks of 5 until the medians of two in a row differ by at most 2 %; how many were taken.
static size_t warm_up(void (*invoke)(void), int64_t *samples, size_t most) {
    size_t taken = 0;
    for (int64_t before_ns = 0; taken < most;) {
        size_t block = most - taken < BLOCK ? most - taken : BLOCK;
        sample(invoke, samples + taken, block, MOST_SAMPLING_S, block);
        int64_t median_ns = median(samples + taken, block);
        taken += block;
        if (before_ns && 50 * llabs(median_ns - before_ns) <= before_ns) break;
        before_ns = median_ns;
    }
    return taken;
}
