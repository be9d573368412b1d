/*
 * Keeps the library loadable on older Linux systems than the one it is built on. The static libstdc++ and libgcc of a new
 * system refer to the newest versions of a few glibc symbols; here they get older ones, or a replacement. Linked with
 * --wrap for the functions below, see native/CMakeLists.txt. What remains is checked by a test.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

#if defined(__x86_64__)
#define OLDEST "GLIBC_2.2.5"
#else
#define OLDEST "GLIBC_2.17"
#endif

/* glibc 2.34 moved these from libpthread and libdl to libc under a new version; the old one is still there. */
#define OLD_VERSION(name) __asm__(".symver old_" #name ", " #name "@" OLDEST)

extern int old_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                              void* argument);
extern int old_pthread_join(pthread_t thread, void** result);
extern int old_pthread_once(pthread_once_t* once, void (*routine)(void));
extern int old___pthread_key_create(pthread_key_t* key, void (*destructor)(void*));
OLD_VERSION(pthread_create);
OLD_VERSION(pthread_join);
OLD_VERSION(pthread_once);
OLD_VERSION(__pthread_key_create);
extern void* old_dlopen(const char* path, int flags);
extern void* old_dlsym(void* library, const char* name);
extern int old_dlclose(void* library);
extern char* old_dlerror(void);
extern int old_dladdr(const void* address, Dl_info* info);
OLD_VERSION(dlopen);
OLD_VERSION(dlsym);
OLD_VERSION(dlclose);
OLD_VERSION(dlerror);
OLD_VERSION(dladdr);
/* glibc 2.29 left out what told of errors in a way of System V; the numbers are the same. */
extern double old_log(double x);
OLD_VERSION(log);

int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument);
int __wrap_pthread_join(pthread_t thread, void** result);
int __wrap_pthread_once(pthread_once_t* once, void (*routine)(void));
int __wrap___pthread_key_create(pthread_key_t* key, void (*destructor)(void*));

int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) {
  return old_pthread_create(thread, attributes, start, argument);
}

int __wrap_pthread_join(pthread_t thread, void** result) { return old_pthread_join(thread, result); }

int __wrap_pthread_once(pthread_once_t* once, void (*routine)(void)) { return old_pthread_once(once, routine); }

int __wrap___pthread_key_create(pthread_key_t* key, void (*destructor)(void*)) {
  return old___pthread_key_create(key, destructor);
}

void* __wrap_dlopen(const char* path, int flags);
void* __wrap_dlsym(void* library, const char* name);
int __wrap_dlclose(void* library);
char* __wrap_dlerror(void);
int __wrap_dladdr(const void* address, Dl_info* info);

void* __wrap_dlopen(const char* path, int flags) { return old_dlopen(path, flags); }

void* __wrap_dlsym(void* library, const char* name) { return old_dlsym(library, name); }

int __wrap_dlclose(void* library) { return old_dlclose(library); }

char* __wrap_dlerror(void) { return old_dlerror(); }

int __wrap_dladdr(const void* address, Dl_info* info) { return old_dladdr(address, info); }

double __wrap_log(double x);
double __wrap_log(double x) { return old_log(x); }

/* glibc 2.32: lets libstdc++ skip atomic operations while there is one thread. 0 makes it use them always. */
char __libc_single_threaded = 0;

#if defined(DLFO_STRUCT_HAS_EH_DBASE)
/* glibc 2.35: which object holds an address, for the unwinder. Found here by walking the objects. */
struct search {
  ElfW(Addr) address;
  struct dl_find_object* result;
};

static int visit(struct dl_phdr_info* info, size_t size, void* data) {
  struct search* search = data;
  const void* frames = 0;
  int inside = 0;
  (void)size;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)* header = &info->dlpi_phdr[i];
    const ElfW(Addr) start = info->dlpi_addr + header->p_vaddr;
    if (header->p_type == PT_GNU_EH_FRAME) frames = (const void*)start;
    if (header->p_type == PT_LOAD && search->address >= start && search->address - start < header->p_memsz) {
      inside = 1;
      search->result->dlfo_map_start = (void*)start;
      search->result->dlfo_map_end = (void*)(start + header->p_memsz);
    }
  }
  if (!inside || frames == 0) return 0;
  search->result->dlfo_eh_frame = (void*)frames;
  return 1;
}

int _dl_find_object(void* address, struct dl_find_object* result) {
  struct search search = {(ElfW(Addr))address, result};
  result->dlfo_flags = 0;
  result->dlfo_link_map = 0;
  return dl_iterate_phdr(visit, &search) == 1 ? 0 : -1;
}
#endif
