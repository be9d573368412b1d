#include "cpu/cgroup.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>

namespace adn::cpu {
namespace {

constexpr double kNone = std::numeric_limits<double>::infinity();

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// Closed also where a text finds no memory.
std::unique_ptr<std::FILE, Close> open(const std::string& path) {
  return std::unique_ptr<std::FILE, Close>(std::fopen(path.c_str(), "re"));
}

// The first line of a file, without its end; "" where there is none.
std::string first_line(const std::string& path) {
  std::string line;
  if (const auto file = open(path)) {
    char text[256];
    if (std::fgets(text, sizeof text, file.get()) != nullptr) line = text;
  }
  return line.substr(0, line.find('\n'));
}

// cpu.max holds "QUOTA PERIOD" in microseconds, or "max PERIOD".
double quota_of_version_2(const std::string& folder) {
  double quota = 0, period = 0;
  const std::string line = first_line(folder + "/cpu.max");
  return std::sscanf(line.c_str(), "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0 ? quota / period : kNone;
}

// cpu.cfs_quota_us is -1 where there is no limit.
double quota_of_version_1(const std::string& folder) {
  double quota = 0, period = 0;
  const bool known = std::sscanf(first_line(folder + "/cpu.cfs_quota_us").c_str(), "%lf", &quota) == 1 &&
                     std::sscanf(first_line(folder + "/cpu.cfs_period_us").c_str(), "%lf", &period) == 1;
  return known && quota > 0 && period > 0 ? quota / period : kNone;
}

// The least quota of a group and those above it. Within a container the path may be that of the host, which is not there; then the
// mount itself is the group.
template <class Quota>
double least(const std::string& mount, std::string path, const Quota& quota) {
  double result = quota(mount);
  while (path.size() > 1) {
    result = std::min(result, quota(mount + path));
    path.erase(path.find_last_of('/'));
  }
  return result;
}

}  // namespace

double cgroup_quota(const std::string& membership, const std::string& root) {
  double result = kNone;
  const auto file = open(membership);
  if (file == nullptr) return result;
  char text[4096];
  while (std::fgets(text, sizeof text, file.get()) != nullptr) {
    // hierarchy:controllers:path
    std::string line(text);
    line.erase(line.find_last_not_of('\n') + 1);
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers(",");
    controllers.append(line, first + 1, second - first - 1).push_back(',');
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") {
      result = std::min(result, least(root, path, quota_of_version_2));
    } else if (controllers.find(",cpu,") != std::string::npos) {
      result = std::min(result, least(root + "/cpu", path, quota_of_version_1));
      result = std::min(result, least(root + "/cpu,cpuacct", path, quota_of_version_1));
    }
  }
  return result;
}

}  // namespace adn::cpu
