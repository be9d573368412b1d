// How the programs in this folder take time.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace bench {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Body>
double time_of(const Body& body) {
  const double start = now();
  body();
  return now() - start;
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Median over the rounds, after one that does not count.
template <class Body>
double median_time(int rounds, const Body& body) {
  body();
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) times.push_back(time_of(body));
  return median(times);
}

}  // namespace bench
