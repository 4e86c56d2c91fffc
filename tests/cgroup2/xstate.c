// SPDX-License-Identifier: Apache-2.0
// For LD_PRELOAD under linux.uml, whose Linux 6.1 keeps 2.5 KiB of a process's xstate: processors with AMX have more, and
// the host's PTRACE_SETREGSET takes all of it or nothing (EFAULT). What is missing is filled in from the process itself.
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

enum { XSTATE = 0x202, MOST = 1 << 16 };

typedef long Ptrace(enum __ptrace_request request, pid_t pid, void *address, void *data);

// glibc's own, which turns the kernel's PEEK calls into return values.
static Ptrace *real(void) {
  static Ptrace *found;
  if (!found) found = (Ptrace *)dlsym(RTLD_NEXT, "ptrace");
  return found;
}

static size_t full_size(void) {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(0xd, 0, &eax, &ebx, &ecx, &edx) && ebx <= MOST ? ebx : 0;
}

static long fill_up(pid_t pid, const struct iovec *given) {
  static char whole[MOST] __attribute__((aligned(64)));
  struct iovec all = {whole, full_size()};
  if (given->iov_len >= all.iov_len) return real()(PTRACE_SETREGSET, pid, (void *)XSTATE, (void *)given);
  if (real()(PTRACE_GETREGSET, pid, (void *)XSTATE, &all) < 0) return -1;
  memcpy(whole, given->iov_base, given->iov_len);
  return real()(PTRACE_SETREGSET, pid, (void *)XSTATE, &all);
}

long ptrace(enum __ptrace_request request, ...) {
  va_list rest;
  va_start(rest, request);
  pid_t pid = va_arg(rest, pid_t);
  void *address = va_arg(rest, void *), *data = va_arg(rest, void *);
  va_end(rest);
  if (request == PTRACE_SETREGSET && (long)address == XSTATE) return fill_up(pid, data);
  return real()(request, pid, address, data);
}
