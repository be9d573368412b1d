#include "core/library.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#include <unistd.h>
#endif

namespace adn {
namespace {

std::string folder_of(const std::string& path) {
  const size_t slash = path.find_last_of("/\\");
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

}  // namespace

#if defined(_WIN32)

namespace {

std::wstring wide(const std::string& utf8) {
  std::wstring text(utf8.size() + 1, L'\0');
  const int length = MultiByteToWideChar(CP_UTF8, 0, utf8.c_str(), -1, text.data(), static_cast<int>(text.size()));
  text.resize(length > 0 ? static_cast<size_t>(length) - 1 : 0);
  return text;
}

std::string narrow(const wchar_t* text) {
  std::string utf8(4 * std::wstring(text).size() + 1, '\0');
  const int length =
      WideCharToMultiByte(CP_UTF8, 0, text, -1, utf8.data(), static_cast<int>(utf8.size()), nullptr, nullptr);
  utf8.resize(length > 0 ? static_cast<size_t>(length) - 1 : 0);
  return utf8;
}

}  // namespace

void* open_library(const std::string& path, std::string& error) {
  std::wstring file = wide(path);
  DWORD flags = LOAD_WITH_ALTERED_SEARCH_PATH;  // a library named by its path finds what it needs beside itself
  if (folder_of(path).empty()) {
    // The search that Windows makes by itself takes in the working directory.
    wchar_t found[4096], folders[32768];
    const DWORD length = GetEnvironmentVariableW(L"PATH", folders, 32768);
    if (length > 0 && length < 32768 && SearchPathW(folders, file.c_str(), nullptr, 4096, found, nullptr) != 0) {
      file = found;
    } else {
      flags = LOAD_LIBRARY_SEARCH_DEFAULT_DIRS;
    }
  } else {
    error = file_problem(path);
    if (!error.empty()) return nullptr;
  }
  HMODULE library = LoadLibraryExW(file.c_str(), nullptr, flags);
  if (library == nullptr) error = "LoadLibrary failed with error " + std::to_string(GetLastError());
  return library;
}

void close_library(void* library) { FreeLibrary(static_cast<HMODULE>(library)); }

void* find_symbol(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}

bool is_file_or_folder(const std::string& path) {
  return GetFileAttributesW(wide(path).c_str()) != INVALID_FILE_ATTRIBUTES;
}

bool is_folder(const std::string& path) {
  const DWORD attributes = GetFileAttributesW(wide(path).c_str());
  return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

std::string absolute_path(const std::string& path) {
  wchar_t absolute[4096];
  const DWORD length = GetFullPathNameW(wide(path).c_str(), 4096, absolute, nullptr);
  return length > 0 && length < 4096 ? narrow(absolute) : path;
}

std::string own_folder() {
  HMODULE self = nullptr;
  wchar_t path[4096] = L"";
  if (GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                         reinterpret_cast<const wchar_t*>(&own_folder), &self) == 0 ||
      GetModuleFileNameW(self, path, 4096) == 0) {
    return {};
  }
  return folder_of(narrow(path));
}

#else

void* open_library(const std::string& path, std::string& error) {
  if (!folder_of(path).empty()) {
    error = file_problem(path);
    if (!error.empty()) return nullptr;
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* text = dlerror();
    error = text != nullptr ? text : "dlopen failed";
    // The path is told by whoever asked.
    if (error.starts_with(path + ": ")) error.erase(0, path.size() + 2);
    if (error.find("failed to map segment") != std::string::npos) error += " (is its file system mounted noexec?)";
  }
  return library;
}

void close_library(void* library) { dlclose(library); }

void* find_symbol(void* library, const char* name) { return dlsym(library, name); }

// Not stat, whose symbol is newer than the oldest glibc that is served.
bool is_file_or_folder(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

bool is_folder(const std::string& path) { return is_file_or_folder(path + "/."); }

std::string absolute_path(const std::string& path) {
  if (path.starts_with('/')) return path;
  char folder[4096];
  return getcwd(folder, sizeof folder) != nullptr ? folder + ("/" + path) : path;
}

namespace {

// Asked when the library is loaded: its path may be relative to a working directory that the program leaves afterwards.
const std::string& loaded_from = *new std::string([] {
  Dl_info info = {};
  const void* here = reinterpret_cast<const void*>(&own_folder);
  // A program that was found through PATH has its bare name here, which says nothing of its folder.
  if (dladdr(here, &info) == 0 || info.dli_fname == nullptr || folder_of(info.dli_fname).empty()) return std::string();
  return folder_of(absolute_path(info.dli_fname));
}());

}  // namespace

std::string own_folder() { return loaded_from; }

#endif

}  // namespace adn
