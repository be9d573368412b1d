#include "core/library.h"

#if defined(__ELF__)
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace adn {
namespace {

std::string processor(unsigned machine) {
  switch (machine) {
    case EM_386:
      return "x86";
    case EM_X86_64:
      return "x64";
    case EM_ARM:
      return "arm";
    case EM_AARCH64:
      return "arm64";
    default:
      return "processor " + std::to_string(machine);
  }
}

// The header of the file that this code was loaded from, which has what another must have to be loaded too.
const ElfW(Ehdr) * own_header() {
  Dl_info info = {};
  if (dladdr(reinterpret_cast<const void*>(&own_header), &info) == 0) return nullptr;
  return static_cast<const ElfW(Ehdr)*>(info.dli_fbase);
}

bool begins_with(const char* bytes, uint64_t count, const char* text) {
  const size_t length = std::strlen(text);
  return count >= length && std::memcmp(bytes, text, length) == 0;
}

std::string problem_of(int file) {
  // Not fstat, whose symbol is newer than the oldest glibc that is served.
  const off_t end = lseek(file, 0, SEEK_END);
  if (end < 0) return "not a regular file";
  if (end == 0) return "an empty file";
  const auto size = static_cast<uint64_t>(end);
  char start[64] = {};
  if (pread(file, start, sizeof start, 0) < 0) return {};
  if (begins_with(start, size, "version https://git-lfs")) {
    return "a Git LFS pointer in place of the file (git lfs pull fetches it)";
  }
  if (begins_with(start, size, "!<arch>")) return "a static library, expected a shared one";
  if (!begins_with(start, size, ELFMAG)) return "not a shared library: it has no ELF header";

  const auto truncated = [size](uint64_t least) {
    return "truncated: " + std::to_string(size) + " bytes, expected at least " + std::to_string(least);
  };
  ElfW(Ehdr) header;
  if (size < sizeof header) return truncated(sizeof header);
  std::memcpy(&header, start, sizeof header);
  const ElfW(Ehdr)* own = own_header();
  if (own != nullptr &&
      (std::memcmp(header.e_ident, own->e_ident, EI_VERSION) != 0 || header.e_machine != own->e_machine)) {
    return "made for " + processor(header.e_machine) + ", this process is " + processor(own->e_machine);
  }
  if (header.e_type != ET_DYN) return "not a shared library: ELF type " + std::to_string(header.e_type);

  // The loader maps what the headers promise, and the first access to a page beyond the file's end is a SIGBUS.
  uint64_t least = header.e_phoff + uint64_t{header.e_phnum} * sizeof(ElfW(Phdr));
  if (header.e_phentsize != sizeof(ElfW(Phdr)) || least < header.e_phoff)
    return "damaged: its ELF header makes no sense";
  if (size < least) return truncated(least);
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment;
    const auto offset = static_cast<off_t>(header.e_phoff + i * sizeof segment);
    if (pread(file, &segment, sizeof segment, offset) != static_cast<ssize_t>(sizeof segment)) return {};
    if (segment.p_type != PT_LOAD) continue;
    if (segment.p_offset + segment.p_filesz < segment.p_offset) return "damaged: a segment of it makes no sense";
    least = std::max<uint64_t>(least, segment.p_offset + segment.p_filesz);
  }
  return size < least ? truncated(least) : std::string();
}

}  // namespace

std::string file_problem(const std::string& path) {
  if (is_folder(path)) return "a folder, expected a file";
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return {};  // the loader will say why
  std::string problem = problem_of(file);
  close(file);
  return problem;
}

}  // namespace adn

#else

namespace adn {

// The loaders of Windows and macOS hold the headers against the file themselves.
std::string file_problem(const std::string& path) {
  return is_folder(path) ? "a folder, expected a file" : std::string();
}

}  // namespace adn

#endif
