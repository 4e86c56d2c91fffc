/* SPDX-License-Identifier: Apache-2.0 */
/* Paths below the container's root, which the container's image and its mounts control.
 *
 * openat2(2) with RESOLVE_IN_ROOT keeps every look-up inside, whatever is renamed or replaced meanwhile;
 * magic links are never followed. Everything else works on the descriptor that came back, so what was
 * checked is what is used (CVE-2021-30465 and its kin). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "boxmon.h"

int root_open(struct ctx *c, const char *path, uint64_t flags, uint64_t resolve)
{
    /* openat2(2) takes no more flags with O_PATH than those it has a use for. */
    struct open_how how = {.flags = flags | O_CLOEXEC | ((flags & O_PATH) ? 0 : O_NOCTTY),
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve};
    for (;;) {
        int fd = (int)syscall(SYS_openat2, c->slot[SLOT_ROOT], *path ? path : "/", &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN) /* EAGAIN: a rename raced with ".." */
            return fd >= 0 ? fd : fail(c, "openat2", path);
    }
}

/* Replace the component `name` of `path`, a symlink below `dir`, by what it points to. */
static int splice_link(int dir, char path[PATH_MAX], const char *name, const char *rest)
{
    char link[PATH_MAX], joined[2 * PATH_MAX];
    ssize_t n = readlinkat(dir, name, link, sizeof link - 1);
    if (n < 0)
        return -1;
    link[n] = '\0';
    size_t parent = link[0] == '/' ? 0 : (size_t)(name - path);
    int len = snprintf(joined, sizeof joined, "%.*s%s%s", (int)parent, path, link, rest);
    if (len < 0 || len >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(path, joined, (size_t)len + 1);
    return 0;
}

static int make_last(int dir, const char *name, bool directory, mode_t mode)
{
    if (directory)
        return mkdirat(dir, name, mode);
    int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, mode);
    return fd < 0 ? -1 : close(fd);
}

/* Cut `path` at the end of the component that begins at `start`; returns what follows, with its slash. */
static char *cut(char *start, char saved[PATH_MAX])
{
    char *end = start + strcspn(start, "/");
    snprintf(saved, PATH_MAX, "%s", end);
    *end = '\0';
    return saved;
}

/* One component: make it if it is missing. 0 go on, 1 a dangling link was spliced in: start again. */
static int make_component(struct ctx *c, char *path, char *name, const char *rest, bool directory, mode_t mode)
{
    char parent[PATH_MAX];
    int probe = root_open(c, path, O_PATH, 0);
    if (probe >= 0)
        return close(probe);
    if (errno != ENOENT)
        return -1;
    snprintf(parent, sizeof parent, "%.*s", (int)(name - path), path);
    int dir = root_open(c, parent, O_PATH | O_DIRECTORY, 0);
    if (dir < 0)
        return -1;
    bool last = rest[strspn(rest, "/")] == '\0';
    int rc = make_last(dir, name, directory || !last, last ? mode : 0755);
    if (rc && errno == EEXIST)
        rc = splice_link(dir, path, name, rest) ? -1 : 1;
    finish(dir, rc);
    return rc < 0 ? fail(c, directory || !last ? "mkdirat" : "openat", path) : rc;
}

/* Open `path` with O_PATH, making it and its parents when they are missing; links that point to nothing yet are
 * followed, within the root, as every image with /etc/resolv.conf → ../run/… needs. */
int root_make(struct ctx *c, const char *target, bool directory, uint64_t resolve, mode_t mode)
{
    static char path[PATH_MAX], rest[PATH_MAX];
    int fd = root_open(c, target, O_PATH, resolve);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (snprintf(path, sizeof path, "%s", target) >= PATH_MAX)
        return refuse(c, ENAMETOOLONG, "openat2", target);
    char *at = path;
    for (int links = 0; *(at += strspn(at, "/"));) {
        cut(at, rest);
        int rc = make_component(c, path, at, rest, directory, mode);
        if (rc < 0 || (rc == 1 && ++links > 40))
            return rc < 0 ? fail(c, c->call, target) : refuse(c, ELOOP, "openat2", target);
        if (rc == 1) {
            at = path;
            continue;
        }
        at += strlen(at);
        strcpy(at, rest); /* what cut() took from here */
    }
    return root_open(c, target, O_PATH, resolve);
}

/* The directory that `path` lies in, made when missing; the last component goes to `name`. */
int root_parent(struct ctx *c, const char *path, char name[256], uint64_t resolve)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    if (snprintf(name, 256, "%s", base) >= 256 || strlen(path) >= PATH_MAX)
        return refuse(c, ENAMETOOLONG, "openat2", path);
    snprintf(parent, sizeof parent, "%.*s", (int)(base - path), path);
    return root_make(c, parent, true, resolve, 0755);
}
