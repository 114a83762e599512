// What Linux says: clocks, this process's memory, and what of a file lies in the page cache.

static int64_t clock_ns(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

// Time of the sampling window runs on through suspend, like /proc/uptime, by which a host can align
// it with its own readings. Durations are of the monotonic clock.
static int64_t window_ns(void) { return clock_ns(CLOCK_BOOTTIME); }

static int64_t kibibytes(const char *path, const char *field) {
    int64_t found = -1;
    char line[256];
    FILE *file = fopen(path, "re");
    while (file && found < 0 && fgets(line, sizeof line, file))
        if (!strncmp(line, field, strlen(field))) found = atoll(line + strlen(field));
    if (file) fclose(file);
    return found;
}

// The high-water mark of resident memory.
static int64_t peak_bytes(void) {
    int64_t found = kibibytes("/proc/self/status", "VmHWM:");
    if (found < 0) {
        fputs("distillfarm-runner: /proc/self/status names no VmHWM; this needs Linux\n", stderr);
        leave(2);
    }
    return found * 1024;
}

// The proportional set size, -1 where the kernel keeps it to itself.
static int64_t resident_bytes(void) {
    int64_t found = kibibytes("/proc/self/smaps_rollup", "Pss:");
    return found < 0 ? -1 : found * 1024;
}

static _Noreturn void unprepared(const char *what, const char *path) {
    fprintf(stderr, "distillfarm-runner: cannot %s %s: %s\n", what, path, strerror(errno));
    leave(2);
}

typedef struct {
    size_t resident, pages;
} Residency;

// Asks the kernel to forget a file's pages, and counts those that it kept: pages that another
// process has mapped stay. Since Linux 5.2 mincore answers truly for one's own files only.
static void drop_pages(const char *path, Residency *residency) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (file < 0 || fstat(file, &about)) unprepared("open", path);
    fsync(file);  // dirty pages are not dropped; a file system without fsync has none
    errno = posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    if (errno) unprepared("drop the cached pages of", path);
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (size_t)about.st_size;
    size_t pages = (size + page - 1) / page;
    if (pages) {
        void *mapped = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
        unsigned char *resident = take(pages);
        if (mapped == MAP_FAILED || mincore(mapped, size, (void *)resident))
            unprepared("ask what is cached of", path);
        for (size_t at = 0; at < pages; at++) residency->resident += resident[at] & 1;
        munmap(mapped, size);
        free(resident);
    }
    residency->pages += pages;
    close(file);
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *walk) {
    (void)about, (void)kind;
    return walk->level == 0 ? 0 : remove(path);
}

// Removes what a folder holds, neither following links nor leaving the file system.
static void empty_folder(const char *path) {
    errno = 0;
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) && errno != ENOENT)
        unprepared("empty the folder", path);
}
