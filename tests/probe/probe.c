/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests run inside a container: it reports what it sees, one `name: value` a line, and tries things.
 *
 *   probe report            ids, capabilities, namespaces, descriptors, mounts, limits …
 *   probe open PATH FLAGS   (r, w, rw, c for create)        probe mkdir PATH      probe mknod PATH c MAJOR MINOR
 *   probe mount TYPE TARGET [OPTIONS]                       probe ptrace PID      probe syscall NR
 *   probe alloc MIB         probe fork N                    probe sleep S         probe exit CODE
 *   probe signal NUMBER     (to itself)                     probe trap NUMBER     (waits for it, says so)
 *   probe output BYTES      (a fixed pattern)               probe orphans N       (children left to PID 1)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int result(const char *what, long rc)
{
    if (rc < 0)
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: ok\n", what);
    return 0;
}

static void copy_file(const char *name, const char *path)
{
    char line[4096];
    FILE *f = fopen(path, "r");
    if (!f) {
        printf("%s: %s\n", name, strerrorname_np(errno));
        return;
    }
    while (fgets(line, sizeof line, f))
        printf("%s: %s%s", name, line, strchr(line, '\n') ? "" : "\n");
    fclose(f);
}

static void links(const char *name, const char *directory)
{
    DIR *d = opendir(directory);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        char path[512], to[512];
        snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
        ssize_t n = readlink(path, to, sizeof to - 1);
        if (n < 0 || (e->d_name[0] >= '0' && e->d_name[0] <= '9' && atoi(e->d_name) == dirfd(d)))
            continue;
        to[n] = '\0';
        printf("%s: %s %s\n", name, e->d_name, to);
    }
    if (d)
        closedir(d);
}

static void limits(void)
{
    static const char *const names[] = {"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as"};
    struct rlimit l;
    for (int n = 0; n < 10; n++)
        if (getrlimit((__rlimit_resource_t)n, &l) == 0)
            printf("rlimit: %s %lld %lld\n", names[n], (long long)l.rlim_cur, (long long)l.rlim_max);
}

static int report(int argc, char **argv)
{
    struct utsname u;
    char cwd[4096];
    gid_t groups[64];
    struct timespec mono;
    uname(&u);
    mode_t mask = umask(0);
    printf("pid: %d\nppid: %d\nsid: %d\nuid: %d\ngid: %d\n", getpid(), getppid(), getsid(0), getuid(), getgid());
    int n = getgroups(64, groups);
    printf("groups:");
    for (int i = 0; i < n; i++)
        printf(" %d", groups[i]);
    printf("\nhostname: %s\ndomainname: %s\ncwd: %s\numask: %04o\n", u.nodename, u.domainname, getcwd(cwd, sizeof cwd), mask);
    for (int i = 0; i < argc; i++)
        printf("arg: %s\n", argv[i]);
    for (char **e = environ; *e; e++)
        printf("env: %s\n", *e);
    printf("personality: %d\nnice: %d\nsched: %ld\nioprio: %ld\n", personality(0xffffffff), getpriority(PRIO_PROCESS, 0),
           syscall(SYS_sched_getscheduler, 0), syscall(SYS_ioprio_get, 1, 0));
    clock_gettime(CLOCK_BOOTTIME, &mono);
    printf("boottime: %lld\n", (long long)mono.tv_sec);
    limits();
    copy_file("status", "/proc/self/status");
    copy_file("oom_score_adj", "/proc/self/oom_score_adj");
    copy_file("cgroup", "/proc/self/cgroup");
    copy_file("mountinfo", "/proc/self/mountinfo");
    copy_file("uid_map", "/proc/self/uid_map");
    copy_file("label", "/proc/self/attr/current");
    copy_file("netdev", "/proc/net/dev");
    links("fd", "/proc/self/fd");
    links("ns", "/proc/self/ns");
    return 0;
}

static int try_open(const char *path, const char *how)
{
    int flags = strchr(how, 'w') ? (strchr(how, 'r') ? O_RDWR : O_WRONLY) : O_RDONLY;
    char byte;
    int fd = open(path, flags | (strchr(how, 'c') ? O_CREAT : 0), 0644);
    if (fd >= 0 && !strchr(how, 'w') && read(fd, &byte, 1) < 0 && errno != EISDIR)
        return result("read", -1);
    return result("open", fd);
}

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

static int trap(int number)
{
    sigset_t block, old;
    struct sigaction act = {.sa_handler = on_signal};
    sigemptyset(&block);
    sigaddset(&block, number);
    sigprocmask(SIG_BLOCK, &block, &old);
    sigaction(number, &act, NULL);
    printf("ready\n");
    fflush(stdout);
    while (!caught)
        sigsuspend(&old);
    printf("caught: %d\n", caught);
    return 0;
}

static int output(long bytes)
{
    static char block[65536];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)("0123456789abcdefghijklmnopqrstuvwxyz\n"[i % 37]);
    while (bytes > 0) {
        size_t n = bytes < (long)sizeof block ? (size_t)bytes : sizeof block;
        ssize_t done = write(1, block, n);
        if (done < 0)
            return 1;
        bytes -= done;
    }
    return 0;
}

static int forks(int n)
{
    int made = 0;
    setpgid(0, 0); /* the SIGTERM below is for the children alone */
    for (; made < n; made++) {
        pid_t pid = fork();
        if (pid == 0) {
            pause();
            _exit(0);
        }
        if (pid < 0)
            break;
    }
    printf("forked: %d\n", made);
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    return 0;
}

static int orphans(int n)
{
    for (int i = 0; i < n; i++)
        if (fork() == 0) {
            if (fork() == 0)
                _exit(0);
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    int zombies = 0;
    DIR *d = opendir("/proc");
    struct dirent *e;
    while (d && (e = readdir(d))) {
        char path[300], line[256], *end;
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        FILE *f = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? fopen(path, "r") : NULL;
        if (f && fgets(line, sizeof line, f) && (end = strrchr(line, ')')) && end[2] == 'Z')
            zombies++;
        if (f)
            fclose(f);
    }
    printf("zombies: %d\n", zombies);
    return 0;
}

static int alloc(long mib)
{
    char *p = malloc((size_t)mib << 20);
    if (!p)
        return result("malloc", -1);
    memset(p, 1, (size_t)mib << 20);
    printf("allocated: %ld\n", mib);
    int wrong = p[0] != 1;
    free(p);
    return wrong;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "report", *one = argc > 2 ? argv[2] : "0", *two = argc > 3 ? argv[3] : "";
    if (!strcmp(what, "report"))
        return report(argc, argv);
    if (!strcmp(what, "open"))
        return try_open(one, two);
    if (!strcmp(what, "mkdir"))
        return result("mkdir", mkdir(one, 0755));
    if (!strcmp(what, "mknod"))
        return result("mknod", mknod(one, S_IFCHR | 0666, makedev(1, 3)));
    if (!strcmp(what, "mount"))
        return result("mount", mount("probe", two, one, 0, argc > 4 ? argv[4] : ""));
    if (!strcmp(what, "ptrace"))
        return result("ptrace", ptrace(PTRACE_ATTACH, atoi(one), 0, 0));
    if (!strcmp(what, "syscall"))
        return result("syscall", syscall(atol(one), 0, 0, 0, 0, 0, 0));
    if (!strcmp(what, "alloc"))
        return alloc(atol(one));
    if (!strcmp(what, "fork"))
        return forks(atoi(one));
    if (!strcmp(what, "sleep"))
        return (int)sleep((unsigned)atoi(one));
    if (!strcmp(what, "exit"))
        return atoi(one);
    if (!strcmp(what, "signal"))
        return raise(atoi(one));
    if (!strcmp(what, "trap"))
        return trap(atoi(one));
    if (!strcmp(what, "output"))
        return output(atol(one));
    if (!strcmp(what, "orphans"))
        return orphans(atoi(one));
    fprintf(stderr, "probe: unknown word %s\n", what);
    return 2;
}
