/* SPDX-License-Identifier: Apache-2.0 */
/* Steps on mounts, with the API of descriptors (fsopen, open_tree, mount_setattr, move_mount: Linux 5.12):
 * no target path is looked up twice, and /proc/self/fd is never needed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "boxmon.h"

static int clone_tree(int dir, const char *path, bool recursive)
{
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0) | (*path ? 0 : AT_EMPTY_PATH);
    return (int)syscall(SYS_open_tree, dir, path, flags);
}

static int set_attr(int fd, const struct mount_attr *attr, bool recursive)
{
    return (int)syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), attr, sizeof *attr);
}

static int move_to(int tree, int target)
{
    return (int)syscall(SYS_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

int op_open_tree(struct ctx *c, struct cell *a)
{
    int fd = clone_tree(AT_FDCWD, a[OPEN_TREE_PATH].s, a[OPEN_TREE_RECURSIVE].u);
    return fd < 0 ? fail(c, "open_tree", a[OPEN_TREE_PATH].s) : set_slot(c, a[OPEN_TREE_SLOT].u, fd);
}

/* The kernel's own words about a refused mount can be read from the context. */
static int fs_fail(struct ctx *c, int fs, const char *call, const char *type)
{
    int err = errno;
    ssize_t n = read(fs, c->detail, sizeof c->detail);
    c->detail_len = n > 0 ? (size_t)n : 0;
    errno = err;
    return fail(c, call, type);
}

static int configure(int fs, const char *option)
{
    char key[64];
    const char *eq = strchr(option, '=');
    if (!eq)
        return (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, option, NULL, 0);
    if (snprintf(key, sizeof key, "%.*s", (int)(eq - option), option) >= (int)sizeof key) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, eq + 1, 0);
}

int op_fs_mount(struct ctx *c, struct cell *a)
{
    const char *type = a[FS_MOUNT_FSTYPE].s;
    int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC), rc = 0;
    if (fs < 0)
        return fail(c, "fsopen", type);
    for (char **option = a[FS_MOUNT_OPTIONS].a; *option && !rc; option++)
        rc = configure(fs, *option) ? fs_fail(c, fs, "fsconfig", *option) : 0;
    if (!rc && syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
        rc = fs_fail(c, fs, "mount", type);
    int fd = rc ? -1 : (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, (unsigned)a[FS_MOUNT_ATTRS].u);
    if (!rc && fd < 0)
        rc = fs_fail(c, fs, "fsmount", type);
    return finish(fs, rc) ? -1 : set_slot(c, a[FS_MOUNT_SLOT].u, fd);
}

int op_set_attr(struct ctx *c, struct cell *a)
{
    struct mount_attr attr = {.attr_set = a[SET_ATTR_SET].u, .attr_clr = a[SET_ATTR_CLEAR].u,
                              .propagation = a[SET_ATTR_PROPAGATION].u};
    if (set_attr(get_slot(c, a[SET_ATTR_SLOT].u), &attr, a[SET_ATTR_RECURSIVE].u))
        return fail(c, "mount_setattr", "");
    return 0;
}

int op_idmap(struct ctx *c, struct cell *a)
{
    char path[32];
    int userns = get_slot(c, a[IDMAP_USERNS].u);
    if (a[IDMAP_USERNS].u == SLOT_NONE) {
        snprintf(path, sizeof path, "%d/ns/user", c->child);
        userns = openat(c->slot[SLOT_HOST_PROC], path, O_RDONLY | O_CLOEXEC);
        if (userns < 0)
            return fail(c, "open", path);
    }
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (unsigned)userns};
    int rc = set_attr(get_slot(c, a[IDMAP_SLOT].u), &attr, a[IDMAP_RECURSIVE].u);
    if (a[IDMAP_USERNS].u == SLOT_NONE)
        finish(userns, rc);
    return rc ? fail(c, "mount_setattr", "MOUNT_ATTR_IDMAP") : 0;
}

int op_root(struct ctx *c, struct cell *a)
{
    int tree = get_slot(c, a[ROOT_SLOT].u);
    long rc = syscall(SYS_move_mount, tree, "", AT_FDCWD, a[ROOT_TARGET].s, MOVE_MOUNT_F_EMPTY_PATH);
    c->on_top = strcmp(a[ROOT_TARGET].s, "/") == 0;
    if (rc && errno == EACCES && !c->on_top) {
        c->on_top = true;
        rc = syscall(SYS_move_mount, tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH);
    }
    if (rc)
        return fail(c, "move_mount", a[ROOT_TARGET].s);
    int fd = fcntl(tree, F_DUPFD_CLOEXEC, 3);
    return fd < 0 ? fail(c, "fcntl", "F_DUPFD") : set_slot(c, SLOT_ROOT, fd);
}

/* A mount inside procfs could turn a later write to /proc into a write elsewhere (CVE-2019-16884,
 * CVE-2023-27561, CVE-2025-52881): only the files that the plan knows to be harmless may be covered. */
static int check_target(struct ctx *c, int fd, bool directory, uint64_t flags, const char *target)
{
    struct statfs fs;
    struct stat st;
    if (fstatfs(fd, &fs) || fstat(fd, &st))
        return fail(c, "fstatfs", target);
    if (S_ISDIR(st.st_mode) != directory)
        return refuse(c, ENOTDIR, "move_mount", target);
    if (fs.f_type == PROC_SUPER_MAGIC && !(flags & ATTACH_PROC))
        return refuse(c, EPERM, "move_mount", target);
    return 0;
}

int op_attach(struct ctx *c, struct cell *a)
{
    struct stat st;
    const char *target = a[ATTACH_TARGET].s;
    uint64_t flags = a[ATTACH_FLAGS].u, resolve = flags & ATTACH_NOFOLLOW ? RESOLVE_NO_SYMLINKS : 0;
    int tree = get_slot(c, a[ATTACH_SLOT].u);
    if (fstat(tree, &st))
        return fail(c, "fstat", target);
    int fd = root_make(c, target, S_ISDIR(st.st_mode), resolve, S_ISDIR(st.st_mode) ? 0755 : 0644);
    if (fd < 0)
        return -1;
    int rc = check_target(c, fd, S_ISDIR(st.st_mode), flags, target);
    if (!rc && move_to(tree, fd))
        rc = fail(c, "move_mount", target);
    if (!rc)
        set_slot(c, a[ATTACH_SLOT].u, -1);
    return finish(fd, rc);
}

/* An empty, read-only directory. */
static int empty_tree(void)
{
    int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), fd = -1;
    if (fs >= 0 && !configure(fs, "nr_inodes=2") && !configure(fs, "mode=0555") &&
        !syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
        fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
    return finish(fs, fd);
}

/* Cover `fd`: a directory with an empty one, anything else with the host's /dev/null, which was opened before the
 * container had a say (CVE-2025-31133). */
static int cover(struct ctx *c, int fd, bool directory, const char *target)
{
    int tree = directory ? empty_tree() : clone_tree(c->slot[SLOT_DEV_NULL], "", false);
    if (tree < 0)
        return fail(c, directory ? "fsmount" : "open_tree", target);
    return finish(tree, move_to(tree, fd) ? fail(c, "move_mount", target) : 0);
}

int op_mask(struct ctx *c, struct cell *a)
{
    struct stat st;
    const char *target = a[MASK_TARGET].s;
    int fd = root_open(c, target, O_PATH, 0);
    if (fd < 0) /* what is not there, or cannot be reached, needs no mask */
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -1;
    int rc = fstat(fd, &st) ? fail(c, "fstat", target) : 0;
    if (!rc)
        rc = cover(c, fd, S_ISDIR(st.st_mode), target);
    return finish(fd, rc);
}

int op_read_only(struct ctx *c, struct cell *a)
{
    const char *target = a[READ_ONLY_TARGET].s;
    const struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
    int fd = root_open(c, target, O_PATH, 0), tree = -1, rc = 0;
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    if ((tree = clone_tree(fd, "", true)) < 0)
        rc = fail(c, "open_tree", target);
    else if (set_attr(tree, &ro, true))
        rc = fail(c, "mount_setattr", target);
    else if (move_to(tree, fd))
        rc = fail(c, "move_mount", target);
    return finish(tree, finish(fd, rc));
}

int op_mk_dir(struct ctx *c, struct cell *a)
{
    int fd = root_make(c, a[MK_DIR_PATH].s, true, 0, (mode_t)a[MK_DIR_MODE].u);
    return fd < 0 ? -1 : close(fd);
}

int op_ch_dir(struct ctx *c, struct cell *a)
{
    int fd = root_open(c, a[CH_DIR_PATH].s, O_PATH | O_DIRECTORY, 0);
    return fd < 0 ? fail(c, "chdir", a[CH_DIR_PATH].s) : finish(fd, fchdir(fd) ? fail(c, "chdir", a[CH_DIR_PATH].s) : 0);
}

int op_sym_link(struct ctx *c, struct cell *a)
{
    char name[256];
    int dir = root_parent(c, a[SYM_LINK_PATH].s, name, RESOLVE_NO_SYMLINKS);
    if (dir < 0)
        return -1;
    int rc = symlinkat(a[SYM_LINK_TARGET].s, dir, name) && errno != EEXIST ? fail(c, "symlinkat", a[SYM_LINK_PATH].s) : 0;
    return finish(dir, rc);
}

static bool same_device(int dir, const char *name, mode_t mode, dev_t dev)
{
    struct stat st;
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == (mode & S_IFMT) && st.st_rdev == dev;
}

/* In a user namespace mknod(2) is refused: bind the host's node of the same path, if it is that device. */
static int bind_device(struct ctx *c, const char *path, mode_t mode, dev_t dev)
{
    int tree = clone_tree(AT_FDCWD, path, false);
    if (tree < 0)
        return fail(c, "open_tree", path);
    int rc = 0, fd = -1;
    struct stat st;
    const struct mount_attr safe = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC};
    if (fstat(tree, &st) || (st.st_mode & S_IFMT) != (mode & S_IFMT) || st.st_rdev != dev)
        rc = refuse(c, ENODEV, "open_tree", path);
    else if (set_attr(tree, &safe, false))
        rc = fail(c, "mount_setattr", path);
    else if ((fd = root_make(c, path, false, 0, 0644)) < 0)
        rc = -1;
    else if (move_to(tree, fd))
        rc = fail(c, "move_mount", path);
    return finish(fd, finish(tree, rc));
}

int op_mk_nod(struct ctx *c, struct cell *a)
{
    char name[256];
    const char *path = a[MK_NOD_PATH].s;
    mode_t mode = (mode_t)a[MK_NOD_MODE].u;
    dev_t dev = makedev((unsigned)a[MK_NOD_MAJOR].u, (unsigned)a[MK_NOD_MINOR].u);
    int dir = root_parent(c, path, name, RESOLVE_NO_SYMLINKS), rc = 0;
    if (dir < 0)
        return -1;
    mode_t mask = umask(0); /* no chmod afterwards: whoever shares the directory could put a link there (fchmodat follows it) */
    int made = mknodat(dir, name, mode, dev), err = errno;
    umask(mask);
    if (made && err == EPERM)
        rc = bind_device(c, path, mode, dev);
    else if (made && (err != EEXIST || !same_device(dir, name, mode, dev)))
        rc = refuse(c, err, "mknodat", path);
    else if (!made && fchownat(dir, name, (uid_t)a[MK_NOD_UID].u, (gid_t)a[MK_NOD_GID].u, AT_SYMLINK_NOFOLLOW))
        rc = fail(c, "fchownat", path);
    return finish(dir, rc);
}

/* pivot_root(".", ".") stacks the old root on the new one, from where it is unmounted: no directory is needed. */
static int pivot(struct ctx *c)
{
    int old = open("/", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (old < 0)
        return fail(c, "open", "/");
    if (fchdir(c->slot[SLOT_ROOT]) || syscall(SYS_pivot_root, ".", ".")) {
        close(old);
        return fail(c, "pivot_root", ".");
    }
    int rc = fchdir(old) || mount("", ".", "", MS_SLAVE | MS_REC, NULL);
    while (!rc && umount2(".", MNT_DETACH) == 0)
        ; /* what was staged on the old root goes first, the old root last; then "." is in no namespace: EINVAL */
    return finish(old, rc || errno != EINVAL ? fail(c, "umount2", "old root") : 0);
}

int op_pivot(struct ctx *c, struct cell *a)
{
    if (a[PIVOT_HOW].u == PIVOT) {
        if (pivot(c))
            return -1;
        return chdir("/") ? fail(c, "chdir", "/") : 0;
    }
    if (fchdir(c->slot[SLOT_ROOT]))
        return fail(c, "fchdir", "root");
    /* What lies on top of / is not what look-ups start from until chroot(2) says so. */
    if (a[PIVOT_HOW].u == PIVOT_MOVE && !c->on_top &&
        syscall(SYS_move_mount, c->slot[SLOT_ROOT], "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH))
        return fail(c, "move_mount", "/");
    if (chroot("."))
        return fail(c, "chroot", ".");
    return chdir("/") ? fail(c, "chdir", "/") : 0;
}
