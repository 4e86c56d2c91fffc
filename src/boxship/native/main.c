/* SPDX-License-Identifier: Apache-2.0 */
/* boxmon PLANFD: seal the own binary, read the plan, run it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "boxmon.h"

static int die(const char *what)
{
    dprintf(2, "boxmon: %s: %s\n", what, strerror(errno));
    return 125;
}

/* The container may reach this binary through /proc/PID/exe while boxmon is inside it (CVE-2019-5736). It is
 * out of reach when it lies on a read-only mount that no namespace holds, or in a memfd sealed for good. */
static bool sealed(int exe)
{
    struct statvfs fs;
    if (fstatvfs(exe, &fs) == 0 && (fs.f_flag & ST_RDONLY))
        return true;
    int seals = fcntl(exe, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_WRITE);
}

static int read_only_copy(int exe)
{
    int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
    if (fd >= 0 && syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &ro, sizeof ro) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    struct stat st;
    fd = memfd_create("boxmon", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || fstat(exe, &st))
        return -1;
    for (off_t at = 0; at < st.st_size;)
        if (sendfile(fd, exe, &at, (size_t)(st.st_size - at)) <= 0)
            return -1;
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) ? -1 : fd;
}

static int seal(char **argv)
{
    int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (exe < 0)
        return -1;
    if (sealed(exe))
        return close(exe);
    if (getenv("BOXMON_SEALED")) { /* a second round would be a loop */
        errno = ELOOP;
        return -1;
    }
    int copy = read_only_copy(exe);
    if (copy < 0)
        return -1;
    char *env[] = {"BOXMON_SEALED=1", NULL};
    return (int)syscall(SYS_execveat, copy, "", argv, env, AT_EMPTY_PATH);
}

static char *map_plan(int fd, size_t *size)
{
    struct stat st;
    if (fstat(fd, &st) || st.st_size <= 0 || st.st_size > MAX_PLAN)
        return NULL;
    *size = (size_t)st.st_size;
    char *blob = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    return blob == MAP_FAILED ? NULL : blob;
}

static int prepare(struct ctx *c, struct plan *plan)
{
    c->plan = plan;
    c->report = plan->head->report;
    c->pidfd = -1;
    memset(c->slot, -1, sizeof c->slot);
    for (uint32_t i = 0; i < plan->head->slots; i++)
        c->slot[plan->pairs[i][0]] = plan->pairs[i][1];
    c->shared = mmap(NULL, sizeof *c->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->shared == MAP_FAILED)
        return -1;
    if (plan->head->trace >= 0) {
        c->trace = mmap(NULL, MAX_STEPS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, plan->head->trace, 0);
        if (c->trace == MAP_FAILED)
            return -1;
    }
    return 0;
}

/* What boxmon inherits must not reach the container: only Dup steps make descriptors that survive exec. */
static void close_on_exec(void)
{
    syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
}

int main(int argc, char **argv)
{
    static struct plan plan;
    static struct ctx c;
    size_t size;
    if (argc != 2) {
        errno = EINVAL;
        return die("usage: boxmon PLANFD");
    }
    if (seal(argv))
        return die("cannot seal /proc/self/exe");
    prctl(PR_SET_NAME, "boxmon");
    close_on_exec();
    int fd = atoi(argv[1]);
    char *blob = map_plan(fd, &size);
    if (!blob || plan_load(blob, size, &plan))
        return die("plan");
    close(fd);
    signal(SIGPIPE, SIG_IGN);
    if (prepare(&c, &plan))
        return die("mmap");
    return launch(&c) ? 125 : 0;
}
