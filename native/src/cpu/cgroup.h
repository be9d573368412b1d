// How much processor time a container may take.
#pragma once

#include <string>

namespace adn::cpu {

// Processors' worth of time that the control groups of this process allow, the least of all that lie on its path; infinity where
// there is no limit. membership: /proc/self/cgroup; root: where the groups are mounted (version 2, or version 1's cpu controller
// in root/cpu or root/cpu,cpuacct).
double cgroup_quota(const std::string& membership, const std::string& root);

}  // namespace adn::cpu
