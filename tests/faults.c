/* Fails the n-th call that writes below a folder, once. Loaded by LD_PRELOAD, armed by fault_arm; counts when n is 0. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t length;
static int wanted, code;
static atomic_int count;

void fault_arm(const char *path, int at, int error) {
    length = 0;
    snprintf(folder, sizeof folder, "%s", path);
    wanted = at;
    code = error;
    atomic_store(&count, 0);
    length = strlen(folder);
}

int fault_count(void) { return atomic_load(&count); }

static int hit(const char *path) {
    if (!length || !path || strncmp(path, folder, length) || (path[length] && path[length] != '/')) return 0;
    if (atomic_fetch_add(&count, 1) + 1 != wanted) return 0;
    errno = code;
    return 1;
}

static int hit_fd(int fd) {
    char link[64], path[PATH_MAX];
    if (!length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return hit(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ON_FD(type, name, parameters, arguments) \
    type name parameters { static __typeof__(&name) real; if (!real) real = REAL(name); return hit_fd(fd) ? -1 : real arguments; }
#define ON_PATH(type, name, parameters, arguments) \
    type name parameters { static __typeof__(&name) real; if (!real) real = REAL(name); return hit(path) ? -1 : real arguments; }

ON_FD(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
ON_FD(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
ON_FD(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
ON_FD(ssize_t, writev, (int fd, const struct iovec *parts, int n), (fd, parts, n))
ON_FD(ssize_t, pwritev, (int fd, const struct iovec *parts, int n, off_t at), (fd, parts, n, at))
ON_FD(int, fsync, (int fd), (fd))
ON_FD(int, fdatasync, (int fd), (fd))
ON_FD(int, ftruncate, (int fd, off_t size), (fd, size))
ON_FD(int, ftruncate64, (int fd, off64_t size), (fd, size))
ON_PATH(int, truncate, (const char *path, off_t size), (path, size))
ON_PATH(int, truncate64, (const char *path, off64_t size), (path, size))
ON_PATH(int, mkdir, (const char *path, mode_t mode), (path, mode))
ON_PATH(int, rename, (const char *path, const char *to), (path, to))
ON_PATH(int, renameat, (int from, const char *path, int at, const char *to), (from, path, at, to))

#define ON_OPEN(name, first, real_first) \
    int name(first const char *path, int flags, ...) { \
        static __typeof__(&name) real; \
        va_list rest; va_start(rest, flags); mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; va_end(rest); \
        if (!real) real = REAL(name); \
        return flags & (O_CREAT | O_WRONLY | O_RDWR) && hit(path) ? -1 : real(real_first path, flags, mode); \
    }
#define COMMA ,
ON_OPEN(open, , )
ON_OPEN(open64, , )
ON_OPEN(openat, int at COMMA, at COMMA)
ON_OPEN(openat64, int at COMMA, at COMMA)
