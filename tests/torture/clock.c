/* A clock that is set for one process alone: LD_PRELOAD=clock.so TEST_CLOCK=FILE. The file holds the seconds by which it
 * is ahead, as eight bytes of this machine's order, and may be written at any time. Only the time of day is another; what
 * measures how long something takes goes on as it is, as when somebody sets a machine's clock. librdkafka asks by gettimeofday
 * and has the kernel wait by what it was told, so that one tells the truth: the kernel's clock is not set. Nothing is allocated
 * here, for an allocator asks for the time before anything else. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t as_it_is;
static volatile int64_t *ahead = &as_it_is;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *seconds = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (seconds != MAP_FAILED)
        ahead = seconds;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *told) {
    int status = (int)syscall(SYS_clock_gettime, clock, told);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        told->tv_sec += *ahead;
    return status;
}
