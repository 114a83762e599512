// The timed loops, as in `program/loop.py`: warm-up until stationary, then raw samples.

enum { BLOCK = 5, PATIENCE = 3 };
static const double NEWS_BELOW = 0.98;

// How long to infer: until `max_s` are over and `least` inferences timed, at most `most`.
typedef struct {
    size_t most, least, kept;
    double max_s;
} Extent;

typedef struct {
    size_t kept, inferences;
} Sampled;

// Chance as in `program/chance.py`: a number below `bound`, a power of two.
static size_t chance(uint64_t *state, size_t bound) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(*state >> 33) & (bound - 1);
}

// So many samples there has to be room for.
static size_t room_for(Extent extent) {
    return extent.kept >= extent.most ? extent.most : extent.kept - extent.kept % 2;
}

// Of more inferences than there is room for, one of every stretch of 2, 4, 8 ... is kept, whichever
// chance chooses: each is as likely to be kept as any other, however long it took.
static Sampled sample(void (*invoke)(void), int64_t *samples, Extent extent) {
    size_t room = room_for(extent), taken = 0, stretch = 1, chosen = 0;
    uint64_t state = 0;
    int64_t deadline_ns = now_ns() + (int64_t)(extent.max_s * 1e9);
    for (size_t at = 0; at < extent.most; at++) {
        if (taken == room) {
            for (size_t pair = 0; pair < room / 2; pair++)
                samples[pair] = samples[2 * pair + chance(&state, 2)];
            taken = room / 2;
            stretch *= 2;
            chosen = taken * stretch + chance(&state, stretch);
        }
        int64_t begin_ns = now_ns();
        invoke();
        int64_t took_ns = now_ns() - begin_ns;
        if (at == chosen) {
            samples[taken++] = took_ns;
            chosen = taken * stretch + (stretch > 1 ? chance(&state, stretch) : 0);
        }
        if (begin_ns > deadline_ns && at + 1 >= extent.least) return (Sampled){taken, at + 1};
    }
    return (Sampled){taken, extent.most};
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

// Blocks of 5 until three in a row brought no median more than 2 % below the lowest before them;
// how many were taken.
static size_t warm_up(void (*invoke)(void), int64_t *samples, size_t most) {
    size_t taken = 0;
    int64_t lowest_ns = INT64_MAX;
    for (int quiet = 0; taken < most && quiet < PATIENCE;) {
        size_t block = most - taken < BLOCK ? most - taken : BLOCK;
        sample(invoke, samples + taken, (Extent){block, block, block, MOST_SAMPLING_S});
        int64_t median_ns = median(samples + taken, block);
        taken += block;
        bool news = (double)median_ns < NEWS_BELOW * (double)lowest_ns;
        if (news) lowest_ns = median_ns;
        quiet = news ? 0 : quiet + 1;
    }
    return taken;
}
