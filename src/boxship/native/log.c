/* SPDX-License-Identifier: Apache-2.0 */
/* The container's log: records of a 16-byte head and what was read, whatever the bytes are; see docs/monitor.md. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "monitor.h"

struct record {
    uint32_t len;
    uint8_t stream; /* a frame kind; 255: bytes that could not be written, as a number */
    uint8_t version, pad[2];
    uint64_t ns; /* CLOCK_REALTIME */
};

uint64_t now_ns(int clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A file that appears complete or not at all. */
int write_file(int dir, const char *name, const char *text, size_t len)
{
    int fd = openat(dir, ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int rc = write(fd, text, len) == (ssize_t)len ? renameat(dir, ".new", dir, name) : -1;
    return finish(fd, rc);
}

void log_open(struct monitor *m)
{
    struct stat st;
    m->log = -1;
    m->log_at = 0;
    if (!m->a[SUPERVISE_LOG_SIZE].u)
        return;
    m->log = openat(m->dir, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (m->log >= 0 && fstat(m->log, &st) == 0)
        m->log_at = (uint64_t)st.st_size;
}

/* log → log.1 → log.2 …: readers that have the old file open read it to its end. */
static void rotate(struct monitor *m)
{
    char from[32], to[32];
    uint64_t keep = m->a[SUPERVISE_LOG_FILES].u;
    for (uint64_t n = keep > 1 ? keep - 1 : 1; n > 0; n--) {
        snprintf(to, sizeof to, "log.%u", (unsigned)n);
        if (n == 1)
            snprintf(from, sizeof from, "log");
        else
            snprintf(from, sizeof from, "log.%u", (unsigned)n - 1);
        renameat(m->dir, from, m->dir, to); /* ENOENT: there are not so many yet */
    }
    if (keep <= 1)
        unlinkat(m->dir, "log.1", 0);
    close(m->log);
    log_open(m);
}

static bool append(struct monitor *m, unsigned char stream, const char *data, size_t len)
{
    struct record head = {.len = (uint32_t)len, .stream = stream, .version = 1, .ns = now_ns(CLOCK_REALTIME)};
    struct iovec iov[2] = {{&head, sizeof head}, {(void *)(uintptr_t)data, len}};
    ssize_t n = writev(m->log, iov, 2), all = (ssize_t)(sizeof head + len);
    if (n == all) {
        m->log_at += (uint64_t)all;
        return true;
    }
    if (n > 0 && ftruncate(m->log, (off_t)m->log_at)) /* half a record must not stay; if it does, readers stop there */
        m->log_at += (uint64_t)n;
    return false;
}

/* A full disk costs log records, never the container: how many bytes are missing is told when there is room again. */
void log_write(struct monitor *m, unsigned char stream, const char *data, size_t len)
{
    if (m->log < 0)
        return;
    if (m->log_at && m->log_at + len + 2 * sizeof(struct record) > m->a[SUPERVISE_LOG_SIZE].u)
        rotate(m);
    if (m->lost) {
        char text[32];
        int n = snprintf(text, sizeof text, "%llu", (unsigned long long)m->lost);
        if (append(m, 255, text, (size_t)n))
            m->lost = 0;
    }
    if (!append(m, stream, data, len))
        m->lost += len;
}
