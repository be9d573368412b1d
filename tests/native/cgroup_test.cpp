// How much processor time a container's control groups allow, from files as the kernel writes them.
#include "cpu/cgroup.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

namespace adn::cpu {
namespace {

class Cgroup : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() /
            ("adadelta-cgroup-" + std::to_string(testing::UnitTest::GetInstance()->random_seed()) + "-" +
             testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void put(const std::string& file, const std::string& text) {
    std::filesystem::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  double quota(const std::string& membership) {
    put("membership", membership);
    return cgroup_quota((root_ / "membership").string(), root_.string());
  }

  std::filesystem::path root_;
};

TEST_F(Cgroup, Version2TakesTheLeastOfAGroupAndThoseAboveIt) {
  put("cpu.max", "max 100000\n");
  put("a/cpu.max", "150000 100000\n");
  put("a/b/cpu.max", "400000 100000\n");
  EXPECT_EQ(1.5, quota("0::/a/b\n"));
  EXPECT_EQ(1.5, quota("0::/a\n"));
  EXPECT_TRUE(std::isinf(quota("0::/\n")));
}

// Within a container the path is often the host's, which is not there: the mount is the group.
TEST_F(Cgroup, AContainersOwnMountCounts) {
  put("cpu.max", "50000 100000\n");
  EXPECT_EQ(0.5, quota("0::/system.slice/docker-0123.scope\n"));
}

TEST_F(Cgroup, Version1HasItsOwnFiles) {
  put("cpu,cpuacct/docker/x/cpu.cfs_quota_us", "250000\n");
  put("cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(2.5, quota("12:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n0::/\n"));
  put("cpu,cpuacct/docker/x/cpu.cfs_quota_us", "-1\n");
  EXPECT_TRUE(std::isinf(quota("4:cpu,cpuacct:/docker/x\n")));
}

TEST_F(Cgroup, WhatIsMissingOrStrangeIsNoLimit) {
  EXPECT_TRUE(std::isinf(cgroup_quota("/nowhere/membership", "/nowhere")));
  EXPECT_TRUE(std::isinf(quota("")));
  EXPECT_TRUE(std::isinf(quota("nonsense\n:::\n0:\n")));
  put("cpu.max", "0 0\n");
  EXPECT_TRUE(std::isinf(quota("0::/\n")));
  put("cpu.max", "many\n");
  EXPECT_TRUE(std::isinf(quota("0::/\n")));
}

}  // namespace
}  // namespace adn::cpu
