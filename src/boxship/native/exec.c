/* SPDX-License-Identifier: Apache-2.0 */
/* Finding and starting the program, and telling apart the reasons why that fails. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "boxmon.h"

/* What Python needs to name the cause: 'x' noexec mount, 'p' no execute bit, 'd' no regular file; then the file's head. */
static int exec_fail(struct ctx *c, const char *call, const char *path)
{
    int err = errno;
    struct stat st;
    struct statvfs fs;
    char why = '-';
    if (stat(path, &st) == 0 && statvfs(path, &fs) == 0)
        why = !S_ISREG(st.st_mode) ? 'd' : (fs.f_flag & ST_NOEXEC) ? 'x' : (st.st_mode & 0111) ? 'f' : 'p';
    c->detail[0] = why;
    c->detail_len = 1;
    /* The file is the container's: it may have become a fifo that nobody writes to. */
    int fd = why == 'f' ? open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
    ssize_t n = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, c->detail + 1, sizeof c->detail - 1) : 0;
    c->detail_len += n > 0 ? (size_t)n : 0;
    errno = err;
    return finish(fd, fail(c, call, path));
}

/* access(2) answers for the real ids, which the plan has set by now, and knows noexec mounts. */
static bool runnable(const char *path)
{
    struct stat st;
    if (stat(path, &st) || access(path, X_OK))
        return false;
    if (S_ISREG(st.st_mode))
        return true;
    errno = EACCES;
    return false;
}

int op_lookup(struct ctx *c, struct cell *a)
{
    const char *program = a[LOOKUP_PROGRAM].s;
    int denied = 0;
    if (strchr(program, '/')) {
        if ((size_t)snprintf(c->program, sizeof c->program, "%s", program) >= sizeof c->program)
            return refuse(c, ENAMETOOLONG, "execve", program);
        return runnable(c->program) ? 0 : exec_fail(c, "execve", c->program);
    }
    for (const char *dir = a[LOOKUP_PATH].s; *program && *dir; dir += *dir == ':') {
        int n = (int)strcspn(dir, ":");
        int len = snprintf(c->program, sizeof c->program, "%.*s%s%s", n, dir, n ? "/" : "./", program);
        dir += n;
        if (len < 0 || len >= (int)sizeof c->program)
            continue;
        if (runnable(c->program))
            return 0;
        if (errno == EACCES && !denied++)
            exec_fail(c, "execve", program);
    }
    return refuse(c, denied ? EACCES : ENOENT, "execve", program);
}

int op_exec(struct ctx *c, struct cell *a)
{
    execve(c->program, a[EXEC_ARGV].a, a[EXEC_ENV].a);
    return exec_fail(c, "execve", c->program);
}
