/* SPDX-License-Identifier: Apache-2.0 */
/* tmpcopyup: what a directory of the root holds is copied into the tmpfs that will cover it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "boxmon.h"

struct entry { /* struct linux_dirent64 */
    uint64_t ino;
    int64_t off;
    uint16_t len;
    uint8_t type;
    char name[];
};

enum { MAX_DEPTH = 32 };

static int copy_directory(int from, int to, int depth);

static int copy_data(int from, const char *name, int to, const struct stat *st)
{
    int in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), out = -1, rc = -1;
    if (in >= 0 && (out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st->st_mode & 07777)) >= 0) {
        ssize_t n;
        while ((n = sendfile(out, in, NULL, 1 << 20)) > 0)
            ;
        rc = n < 0 ? -1 : 0;
    }
    return finish(in, finish(out, rc));
}

static int copy_link(int from, const char *name, int to)
{
    char link[PATH_MAX];
    ssize_t n = readlinkat(from, name, link, sizeof link - 1);
    if (n < 0)
        return -1;
    link[n] = '\0';
    return symlinkat(link, to, name);
}

static int copy_subdirectory(int from, const char *name, int to, const struct stat *st, int depth)
{
    if (mkdirat(to, name, st->st_mode & 07777))
        return -1;
    int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc = in < 0 || out < 0 ? -1 : copy_directory(in, out, depth + 1);
    return finish(in, finish(out, rc));
}

static int copy_entry(int from, const char *name, int to, int depth)
{
    struct stat st;
    int rc;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW))
        return -1;
    if (S_ISDIR(st.st_mode))
        rc = copy_subdirectory(from, name, to, &st, depth);
    else if (S_ISREG(st.st_mode))
        rc = copy_data(from, name, to, &st);
    else if (S_ISLNK(st.st_mode))
        rc = copy_link(from, name, to);
    else
        rc = mknodat(to, name, st.st_mode, st.st_rdev);
    if (rc || fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW))
        return -1;
    if (!S_ISLNK(st.st_mode) && fchmodat(to, name, st.st_mode & 07777, 0)) /* chown clears setuid */
        return -1;
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    return utimensat(to, name, times, AT_SYMLINK_NOFOLLOW);
}

static int copy_directory(int from, int to, int depth)
{
    _Alignas(8) char buf[2048];
    long n;
    if (depth > MAX_DEPTH) {
        errno = ELOOP;
        return -1;
    }
    while ((n = syscall(SYS_getdents64, from, buf, sizeof buf)) > 0)
        for (long at = 0; at < n;) {
            const struct entry *e = (const struct entry *)(const void *)(buf + at);
            at += e->len;
            if (strcmp(e->name, ".") && strcmp(e->name, "..") && copy_entry(from, e->name, to, depth))
                return -1;
        }
    return (int)n;
}

int op_copy_up(struct ctx *c, struct cell *a)
{
    int from = root_open(c, a[COPY_UP_TARGET].s, O_RDONLY | O_DIRECTORY, 0);
    if (from < 0)
        return errno == ENOENT ? 0 : -1;
    int to = openat(get_slot(c, a[COPY_UP_SLOT].u), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    int rc = to < 0 || fstat(from, &st) || fchmod(to, st.st_mode & 07777) || fchown(to, st.st_uid, st.st_gid) ||
             copy_directory(from, to, 0);
    return finish(from, finish(to, rc ? fail(c, "copy", a[COPY_UP_TARGET].s) : 0));
}
