// Shared libraries opened at run time: a device's backend here, the vendor's libraries in the CUDA backend.
#pragma once

#include <string>

namespace adn {

// What keeps a file from being a library that this process can load; "" where nothing is seen. Looked at before it is opened,
// since the system's loader dies of a file that is shorter than its headers say.
std::string file_problem(const std::string& path);

// Opens a library by its path, or by a bare name through the system's search path, in which the working directory is not. NULL
// when it cannot be opened, and then error says why. What has been opened stays open to the end of the process unless it is
// closed.
void* open_library(const std::string& path, std::string& error);
void close_library(void* library);

// A function of the library as a pointer to be cast, or NULL.
void* find_symbol(void* library, const char* name);

bool is_file_or_folder(const std::string& path);
bool is_folder(const std::string& path);

// A path that stays the same file when the working directory changes.
std::string absolute_path(const std::string& path);

// The folder of the file that this code was loaded from, without a slash at its end; "" when the system does not tell.
std::string own_folder();

}  // namespace adn
