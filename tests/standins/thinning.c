// Which of so many inferences the native runner keeps: `thinning MOST KEPT` prints their numbers.

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_SAMPLING_S 1e9

static int64_t now, count;

static int64_t now_ns(void) { return now; }

// Takes as many nanoseconds as there were inferences before it, so that a sample is its number.
static void infer(void) { now += count++; }

#include "loop.h"

int main(int arguments, char **argument) {
    if (arguments != 3) return 2;
    Extent extent = {(size_t)atoll(argument[1]), 0, (size_t)atoll(argument[2]), MOST_SAMPLING_S};
    int64_t *samples = calloc(room_for(extent), sizeof *samples);
    Sampled sampled = sample(infer, samples, extent);
    for (size_t at = 0; at < sampled.kept; at++) printf("%" PRId64 " ", samples[at]);
    printf("of %zu\n", sampled.inferences);
    return warm_up(infer, samples, 0) != 0;
}
