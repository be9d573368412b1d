// How an Adadelta pass is cut, for parameters larger than any memory here: the kernel is replaced by one that notes what it
// is given and touches nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <vector>

#include "cpu/adadelta.h"

namespace adn::cpu {
namespace {

std::mutex mutex;
std::vector<AdadeltaRun> runs;

void note(const AdadeltaRun& run, const AdadeltaGroupNumbers&) {
  const std::lock_guard<std::mutex> lock(mutex);
  runs.push_back(run);
}

void* address(uint64_t value) { return reinterpret_cast<void*>(static_cast<uintptr_t>(value)); }
uint64_t value(const void* address) { return reinterpret_cast<uintptr_t>(address); }

adn_adadelta_group group() {
  adn_adadelta_group group = {};
  group.lr = 1;
  group.rho = 0.9;
  group.eps = 1e-6;
  group.clip_value = std::numeric_limits<double>::infinity();
  return group;
}

adn_adadelta_pass pass_of(const std::vector<adn_adadelta_group>& groups) {
  return {groups.data(), groups.size(), 1.0, std::numeric_limits<double>::infinity(), 0, 0};
}

// Pieces of more than 2^31 and 2^32 elements, and one behind them whose start is beyond both: every element of every array
// is met exactly once, at its own address.
TEST(AdadeltaCut, CoversMoreElementsThan32BitsCount) {
  struct Case {
    int32_t dtype;
    uint64_t size, state;
  };
  for (const Case& c : {Case{ADN_DTYPE_FLOAT32, 4, 4}, Case{ADN_DTYPE_FLOAT64, 8, 8}, Case{ADN_DTYPE_BFLOAT16, 2, 4}}) {
    for (const int32_t tensor_by_tensor : {0, 1}) {
      const uint64_t counts[] = {(uint64_t{1} << 31) + 12345, (uint64_t{1} << 32) + 7, 3};
      // Addresses that nothing stands at, each array far from the others.
      constexpr uint64_t apart = uint64_t{1} << 40;
      uint64_t steps[3] = {}, start = 0;
      std::vector<adn_adadelta_piece> pieces;
      for (uint64_t i = 0; i < 3; ++i) {
        const uint64_t base = (i + 1) * 8 * apart;
        pieces.push_back({address(base), address(base + apart), address(base + 2 * apart), address(base + 3 * apart),
                          address(base + 4 * apart), address(base + 5 * apart), &steps[i], counts[i], start, 0,
                          c.dtype});
        start += counts[i];
      }
      std::vector<adn_adadelta_group> groups = {group()};
      groups[0].tensor_by_tensor = tensor_by_tensor;
      const adn_adadelta_pass pass = pass_of(groups);
      ThreadPool pool(2);
      Kernels kernels = baseline_kernels();
      kernels.adadelta = note;
      Adadelta adadelta(pool, kernels);
      adadelta.prepare(pieces.data(), pieces.size(), groups.size());
      runs.clear();
      adadelta.step(pass);
      std::sort(runs.begin(), runs.end(),
                [](const AdadeltaRun& a, const AdadeltaRun& b) { return value(a.p) < value(b.p); });
      size_t run = 0;
      for (const adn_adadelta_piece& piece : pieces) {
        for (uint64_t place = 0; place < piece.count; ++run) {
          ASSERT_LT(run, runs.size());
          const AdadeltaRun& r = runs[run];
          ASSERT_EQ(value(piece.p) + place * c.size, value(r.p));
          ASSERT_EQ(value(piece.g) + place * c.size, value(r.g));
          ASSERT_EQ(value(piece.v) + place * c.state, value(r.v));
          ASSERT_EQ(value(piece.u) + place * c.state, value(r.u));
          ASSERT_EQ(value(piece.master) + place * c.state, value(r.master));
          ASSERT_EQ(value(piece.average) + place * c.state, value(r.average));
          ASSERT_GT(r.count, 0);
          place += static_cast<uint64_t>(r.count);
          ASSERT_LE(place, piece.count);
        }
      }
      EXPECT_EQ(runs.size(), run);
      for (const uint64_t step : steps) EXPECT_EQ(1u, step);
    }
  }
}

// A skipped piece of that size, and real numbers behind it.
TEST(AdadeltaCut, UpdatesWhatLiesBehindASkippedPiece) {
  constexpr uint64_t n = 1000, before = (uint64_t{1} << 33) + 5;
  std::vector<float> p(n, 1), g(n, 2), v(n), u(n), p2 = p, v2 = v, u2 = u;
  uint64_t steps[3] = {};
  const std::vector<adn_adadelta_piece> pieces = {
      {address(4096), nullptr, address(4096), address(4096), nullptr, nullptr, &steps[0], before, 0, 0, 0},
      {p.data(), g.data(), v.data(), u.data(), nullptr, nullptr, &steps[1], n, before, 0, 0}};
  adn_adadelta_piece alone = pieces[1];
  alone.p = p2.data();
  alone.v = v2.data();
  alone.u = u2.data();
  alone.step = &steps[2];
  alone.start = 0;
  const std::vector<adn_adadelta_group> groups = {group()};
  adn_adadelta_pass pass = pass_of(groups);
  pass.clip_norm = 1;
  ThreadPool pool(2);
  Adadelta both(pool, baseline_kernels()), one(pool, baseline_kernels());
  both.prepare(pieces.data(), 2, 1);
  one.prepare(&alone, 1, 1);
  both.step(pass);
  one.step(pass);
  EXPECT_EQ(p2, p);
  EXPECT_LT(p[0], 1);
  // The norm's sums are cut at other places, so they may differ in their last bits.
  EXPECT_NEAR(one.result().norm, both.result().norm, 1e-12);
  EXPECT_EQ(0u, steps[0]);
  EXPECT_EQ(1u, steps[1]);
}

}  // namespace
}  // namespace adn::cpu
