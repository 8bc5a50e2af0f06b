/* A library that says it is ONNX Runtime of the version -DVERSION="..." and has nothing else, for tests. */
#include <stddef.h>
#include <stdint.h>

struct api_base {
    const void *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
};

static const void *get_api(uint32_t version) {
    (void)version;
    return NULL;
}

static const char *get_version(void) { return VERSION; }

const struct api_base *OrtGetApiBase(void) {
    static const struct api_base base = {get_api, get_version};
    return &base;
}
