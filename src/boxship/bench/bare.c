/* SPDX-License-Identifier: Apache-2.0 */
/* The floor of `box bench startup`: what the kernel alone needs for a container. Directories, clone3 with every namespace,
 * an overlay of /, the mounts and devices that every container has, pivot_root, exec, exit; no cgroups, no seccomp.
 * Prints the nanoseconds of each round. usage: bare ROUNDS DIRECTORY PROGRAM */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void must(long rc, const char *what)
{
    if (rc < 0) {
        perror(what);
        _exit(1);
    }
}

static void child(const char *top, const char *program)
{
    static const struct {
        const char *name;
        unsigned minor, major;
    } nodes[] = {{"null", 3, 1}, {"zero", 5, 1}, {"full", 7, 1}, {"random", 8, 1}, {"urandom", 9, 1}, {"tty", 0, 5}};
    char path[4096], options[8192];
    unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    must(mount("", "/", NULL, MS_REC | MS_SLAVE, NULL), "slave");
    must(mount("tmpfs", top, "tmpfs", 0, NULL), "tmpfs");
    must(chdir(top), "chdir");
    must(mkdir("upper", 0755) | mkdir("work", 0755) | mkdir("merged", 0755), "mkdir");
    snprintf(options, sizeof options, "lowerdir=/,upperdir=%s/upper,workdir=%s/work", top, top);
    must(mount("overlay", "merged", "overlay", 0, options), "overlay");
    must(chdir("merged"), "chdir");
    must(mount("proc", "proc", "proc", safe, NULL), "proc");
    must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755"), "dev");
    must(mkdir("dev/pts", 0755) | mkdir("dev/shm", 01777) | mkdir("dev/mqueue", 0755), "mkdir");
    must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"), "devpts");
    must(mount("shm", "dev/shm", "tmpfs", safe, "mode=1777"), "shm");
    must(mount("mqueue", "dev/mqueue", "mqueue", safe, NULL), "mqueue");
    must(mount("sysfs", "sys", "sysfs", safe | MS_RDONLY, NULL), "sysfs");
    for (int n = 0; n < 6; n++) {
        snprintf(path, sizeof path, "dev/%s", nodes[n].name);
        must(mknod(path, S_IFCHR | 0666, makedev(nodes[n].major, nodes[n].minor)), "mknod");
    }
    must(symlink("/proc/self/fd", "dev/fd") | symlink("pts/ptmx", "dev/ptmx"), "symlink");
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "umount");
    must(chdir("/"), "chdir");
    must(sethostname("bare", 4), "sethostname");
    execl(program, program, (char *)NULL);
    must(-1, "exec");
}

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    for (int n = 0; n < atoi(argv[1]); n++) {
        char top[4096];
        int status;
        long long begin = now();
        snprintf(top, sizeof top, "%s/bare-%d-%d", argv[2], getpid(), n);
        must(mkdir(top, 0755), "mkdir");
        struct clone_args args = {.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWNET,
                                  .exit_signal = SIGCHLD};
        pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
        must(pid, "clone3");
        if (pid == 0)
            child(top, argv[3]);
        must(waitpid(pid, &status, 0), "waitpid");
        must(rmdir(top), "rmdir");
        if (status)
            return 1;
        printf("%lld\n", now() - begin);
    }
    return 0;
}
