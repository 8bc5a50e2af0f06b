/* A driver without a GPU behind it, for tests: libcuda.so.1 as far as the shim uses it.
 *
 * FAKE_CUDA says how it fails: "init" (cuInit), "count" (no device), "context"; else it has one GPU, which shares the
 * processor's memory as a Jetson's does, but for "integrated". */
#include <stdlib.h>
#include <string.h>

static int fails(const char *where) {
    const char *how = getenv("FAKE_CUDA");
    return how && strcmp(how, where) == 0;
}

int cuInit(unsigned flags) {
    (void)flags;
    return fails("init") ? 100 : 0; /* 100: no device */
}

int cuDriverGetVersion(int *version) {
    *version = 12060;
    return 0;
}

int cuDeviceGetCount(int *count) {
    *count = fails("count") ? 0 : 1;
    return 0;
}

int cuDeviceGet(int *device, int at) {
    *device = at;
    return 0;
}

int cuDeviceGetName(char *name, int bytes, int device) {
    (void)device;
    strncpy(name, "Fake", (size_t)bytes);
    return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    /* 75 and 76: compute capability; 18: shares the processor's memory. */
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : !fails("integrated");
    return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    static int one;
    (void)device;
    *context = &one;
    return fails("context") ? 2 : 0; /* 2: out of memory */
}

int cuCtxSetCurrent(void *context) {
    return context ? 0 : 201; /* 201: no such context */
}

int cuStreamCreate(void **stream, unsigned flags) {
    (void)flags;
    *stream = malloc(1);
    return 0;
}

int cuStreamSynchronize(void *stream) {
    (void)stream;
    return 0;
}

int cuStreamDestroy_v2(void *stream) {
    free(stream);
    return 0;
}

int cuMemAlloc_v2(unsigned long long *device, size_t bytes) {
    *device = (unsigned long long)malloc(bytes);
    return 0;
}

int cuMemFree_v2(unsigned long long device) {
    free((void *)device);
    return 0;
}

int cuMemHostAlloc(void **host, size_t bytes, unsigned flags) {
    (void)flags;
    *host = malloc(bytes);
    return 0;
}

int cuMemHostGetDevicePointer_v2(unsigned long long *device, void *host, unsigned flags) {
    (void)flags;
    *device = (unsigned long long)host;
    return 0;
}

int cuMemFreeHost(void *host) {
    free(host);
    return 0;
}

int cuMemcpyHtoDAsync_v2(unsigned long long device, const void *host, size_t bytes, void *stream) {
    (void)stream;
    memcpy((void *)device, host, bytes);
    return 0;
}

int cuMemcpyDtoHAsync_v2(void *host, unsigned long long device, size_t bytes, void *stream) {
    (void)stream;
    memcpy(host, (const void *)device, bytes);
    return 0;
}
