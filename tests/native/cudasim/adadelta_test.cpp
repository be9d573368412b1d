// The fused Adadelta step and its way back against the CPU backend, which takes the same pieces. Every bit of
// parameters and state must agree; only norms, which the two add in different orders, may differ: within 1e-13, a few
// thousand roundings of double.
#include <limits>

#include "core/float16.h"
#include "core/tensor.h"
#include "cpu/backend.h"
#include "device.h"

namespace adadelta::test {
namespace {

using namespace adn::cuda;
using Bytes = std::vector<unsigned char>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One tensor: its arrays as bytes, as the CPU has them.
struct Array {
  uint64_t size = 0;  // of an element; 0: there is none
  Bytes bytes;
};

void put(Array& array, uint64_t index, int32_t dtype, double value) {
  const auto number = static_cast<float>(value);
  unsigned char* to = array.bytes.data() + index * array.size;
  adn::Half half;
  adn::BFloat16 bfloat;
  switch (dtype) {
    case ADN_DTYPE_FLOAT64:
      std::memcpy(to, &value, 8);
      break;
    case ADN_DTYPE_FLOAT16:
      adn::from_float(half, number);
      std::memcpy(to, &half, 2);
      break;
    case ADN_DTYPE_BFLOAT16:
      adn::from_float(bfloat, number);
      std::memcpy(to, &bfloat, 2);
      break;
    default:
      std::memcpy(to, &number, 4);
      break;
  }
}

struct TensorSpec {
  int32_t dtype;
  uint64_t count;
  uint32_t group = 0;
  bool master = false, average = false, gradient = true;
  size_t offset = 0;  // elements off 16 bytes
};

// The arrays in the order p, g, v, u, master, average.
struct Data {
  TensorSpec spec;
  Array arrays[6];
};

Data make_data(const TensorSpec& spec, Random& random, double gradient_size, bool whole) {
  Data data;
  data.spec = spec;
  const uint64_t size = adn::dtype_size(spec.dtype), state = std::max<uint64_t>(size, 4);
  const int32_t state_dtype = spec.dtype == ADN_DTYPE_FLOAT64 ? ADN_DTYPE_FLOAT64 : ADN_DTYPE_FLOAT32;
  const bool there[6] = {true, spec.gradient, true, true, spec.master, spec.average};
  for (int a = 0; a < 6; ++a) {
    if (!there[a]) continue;
    data.arrays[a].size = a < 2 ? size : state;
    data.arrays[a].bytes.resize(spec.count * data.arrays[a].size);
    for (uint64_t i = 0; i < spec.count; ++i) {
      double value = static_cast<double>(random.real(-1, 1));
      if (a == 1) value = whole ? std::round(4 * value) : value * gradient_size;
      if (a == 2 || a == 3) value = value * value * 1e-3;
      put(data.arrays[a], i, a < 2 ? spec.dtype : state_dtype, value);
    }
  }
  return data;
}

adn_adadelta_group plain_group() {
  adn_adadelta_group group = {};
  group.lr = 0.1;
  group.rho = 0.9;
  group.eps = 1e-6;
  group.clip_value = kInfinity;
  return group;
}

adn_adadelta_pass plain_pass() { return {nullptr, 0, 1.0, kInfinity, 0, 0}; }

void require_ok(adn_status status) { check(status); }

// Steps on the CPU and on the simulator from the same start, and compares everything after each.
void compare(const std::vector<TensorSpec>& specs, const std::vector<adn_adadelta_group>& groups,
             const adn_adadelta_pass& settings, int steps, bool whole = false, double gradient_size = 0.1,
             const std::function<void(std::vector<Data>&)>& change = {}) {
  Random random(specs.size() + groups.size());
  std::vector<Data> start;
  for (const TensorSpec& spec : specs) start.push_back(make_data(spec, random, gradient_size, whole));
  if (change) change(start);

  in_each_order([&](cudaStream_t stream) {
    // The CPU's side.
    std::vector<Data> cpu = start;
    std::vector<uint64_t> cpu_steps(specs.size(), 3);
    std::vector<adn_adadelta_piece> pieces, device_pieces;
    uint64_t place = 0;
    for (size_t i = 0; i < cpu.size(); ++i) {
      void* address[6];
      for (int a = 0; a < 6; ++a) address[a] = cpu[i].arrays[a].size != 0 ? cpu[i].arrays[a].bytes.data() : nullptr;
      pieces.push_back({address[0], address[1], address[2], address[3], address[4], address[5], &cpu_steps[i],
                        specs[i].count, place, specs[i].group, specs[i].dtype});
      place += specs[i].count;
    }
    const adn_backend& backend = adn::cpu_backend();
    adn_context_options options = cpu_options();
    void *device = nullptr, *optimizer = nullptr;
    require_ok(backend.device_create(&device, &options));
    require_ok(backend.adadelta_create(&optimizer, device));
    require_ok(backend.adadelta_prepare(optimizer, pieces.data(), pieces.size(), groups.size()));

    // The device's side.
    std::vector<DeviceArray<unsigned char>> arrays;
    const DeviceArray<uint64_t> device_steps(cpu_steps);
    for (size_t i = 0; i < start.size(); ++i) {
      void* address[6] = {};
      for (int a = 0; a < 6; ++a) {
        const Array& array = start[i].arrays[a];
        arrays.emplace_back(array.bytes, specs[i].offset * array.size);
        if (array.size != 0) address[a] = arrays.back().get();
      }
      adn_adadelta_piece piece = pieces[i];
      piece.p = address[0];
      piece.g = address[1];
      piece.v = address[2];
      piece.u = address[3];
      piece.master = address[4];
      piece.average = address[5];
      piece.step = device_steps.get() + i;
      device_pieces.push_back(piece);
    }
    std::vector<AdadeltaChunk> chunks(adadelta_chunk_count(device_pieces.data(), device_pieces.size()));
    adadelta_chunks(chunks.data(), device_pieces.data(), device_pieces.size());
    const DeviceArray<adn_adadelta_piece> dpieces(device_pieces);
    const DeviceArray<AdadeltaChunk> dchunks(chunks);
    const DeviceArray<adn_adadelta_group> dgroups(groups);
    adn_adadelta_pass pass = settings;
    pass.groups = dgroups.get();
    pass.group_count = groups.size();
    const DeviceArray<adn_adadelta_pass> dpass(std::vector<adn_adadelta_pass>{pass});
    const DeviceArray<AdadeltaState> state(std::vector<AdadeltaState>{AdadeltaState{}});
    const DeviceArray<AdadeltaPart> parts(chunks.size());

    adn_adadelta_pass cpu_pass = settings;
    cpu_pass.groups = groups.data();
    cpu_pass.group_count = groups.size();
    for (int step = 0; step < steps; ++step) {
      if (step > 0) {
        // Another gradient than in the step before, so that what was left over from that shows.
        const size_t tensor = specs.size() - static_cast<size_t>(step);
        Bytes& gradient = cpu[tensor].arrays[1].bytes;
        std::fill(gradient.begin(), gradient.end(), static_cast<unsigned char>(0));
        arrays[tensor * 6 + 1].write(gradient);
      }
      require_ok(backend.adadelta_step(optimizer, &cpu_pass));
      check_cuda(adn::cuda::adadelta(
          stream, {dpieces.get(), dchunks.get(), chunks.size(), dpass.get(), state.get(), parts.get()},
          adadelta_measures(settings)));
      wait(stream);
      adn_adadelta_result expected;
      require_ok(backend.adadelta_result(&expected, optimizer));
      const adn_adadelta_result result = state.read()[0].result;
      EXPECT_EQ(expected.nonfinite, result.nonfinite);
      if (std::isfinite(expected.norm)) {
        EXPECT_NEAR(expected.norm, result.norm, 1e-13 * expected.norm);
      } else {
        EXPECT_FALSE(std::isfinite(result.norm));
      }
      EXPECT_EQ(cpu_steps, device_steps.read());
      static const char* const kNames[] = {"p", "g", "square_avg", "acc_delta", "master", "average"};
      for (size_t i = 0; i < specs.size(); ++i) {
        for (size_t a = 0; a < 6; ++a) {
          const Bytes actual = arrays[i * 6 + a].read();
          const Bytes& wanted = cpu[i].arrays[a].bytes;
          const auto [first, second] = std::mismatch(wanted.begin(), wanted.end(), actual.begin());
          EXPECT_TRUE(first == wanted.end())
              << kNames[a] << " of tensor " << i << ", step " << step << ", byte " << first - wanted.begin();
          static_cast<void>(second);
        }
      }
    }
    backend.adadelta_destroy(optimizer);
    backend.device_destroy(device);
  });
}

const int32_t kTypes[] = {ADN_DTYPE_FLOAT32, ADN_DTYPE_FLOAT64, ADN_DTYPE_FLOAT16, ADN_DTYPE_BFLOAT16};

// Counts around vectors and chunks, arrays on and off 16 bytes.
std::vector<TensorSpec> tails() {
  std::vector<TensorSpec> specs;
  for (const int32_t dtype : kTypes) {
    for (const uint64_t count : {uint64_t{1}, uint64_t{3}, uint64_t{4}, uint64_t{1021}, kAdadeltaChunk - 1,
                                 kAdadeltaChunk, kAdadeltaChunk + 1, 2 * kAdadeltaChunk + 6}) {
      for (const size_t offset : {0, 1}) specs.push_back({dtype, count, 0, false, false, true, offset});
    }
  }
  return specs;
}

TEST(CudaAdadelta, UpdatesTensorsOfEveryTypeAndLength) {
  std::vector<TensorSpec> specs = tails();
  compare(specs, {plain_group()}, plain_pass(), 3);
}

TEST(CudaAdadelta, TakesOneLaunch) {
  const uint64_t before = cudasim::counts().kernel_launches;
  compare(tails(), {plain_group()}, plain_pass(), 1);
  EXPECT_EQ(before + 3, cudasim::counts().kernel_launches);  // one for each order
}

// Every option at once and each group with other numbers.
TEST(CudaAdadelta, DoesEverythingInOnePass) {
  std::vector<TensorSpec> specs;
  for (const int32_t dtype : kTypes) {
    for (uint32_t i = 0; i < 8; ++i) {
      const bool narrow = dtype == ADN_DTYPE_FLOAT16 || dtype == ADN_DTYPE_BFLOAT16;
      specs.push_back({dtype, 517 + i, i % 3, narrow && i % 2 == 0, i % 4 < 2, i != 5, i % 5 == 4 ? size_t{1} : 0});
    }
  }
  std::vector<adn_adadelta_group> groups(3, plain_group());
  groups[0].weight_decay = 0.01;
  groups[0].average_decay = 0.99;
  groups[1].lr = 1;
  groups[1].rho = 0.95;
  groups[1].maximize = 1;
  groups[1].clip_value = 0.05;
  groups[1].average_decay = 0.5;
  groups[2].decoupled_weight_decay = 0.1;
  groups[2].keep_zero = 1;
  groups[2].eps = 0;
  groups[2].tensor_by_tensor = 1;
  adn_adadelta_pass pass = plain_pass();
  pass.gradient_scale = 3;
  compare(specs, groups, pass, 3);
  pass.zero_gradients = 1;
  compare(specs, groups, pass, 2);
}

// Whole numbers, whose squares add up exactly, so that the factor is the same on both sides.
TEST(CudaAdadelta, ClipsByTheNorm) {
  adn_adadelta_pass pass = plain_pass();
  pass.clip_norm = 2;
  compare(tails(), {plain_group()}, pass, 2, true);
  pass.gradient_scale = 0.5;
  compare(tails(), {plain_group()}, pass, 1, true);
  pass.clip_norm = 1e30;
  compare(tails(), {plain_group()}, pass, 1, true);
}

TEST(CudaAdadelta, MeasuresTheNormOfRealNumbers) {
  adn_adadelta_pass pass = plain_pass();
  pass.clip_norm = 1e30;  // measured, and changes nothing
  compare(tails(), {plain_group()}, pass, 1);
}

TEST(CudaAdadelta, SkipsAStepWithAGradientThatIsNotFinite) {
  adn_adadelta_pass pass = plain_pass();
  pass.skip_nonfinite = 1;
  for (const double bad : {kInfinity, -kInfinity, std::numeric_limits<double>::quiet_NaN()}) {
    for (const size_t tensor : {size_t{0}, size_t{29}, tails().size() - 1}) {
      for (const int32_t zero : {0, 1}) {
        pass.zero_gradients = zero;
        compare(tails(), {plain_group()}, pass, 1, false, 0.1, [&](std::vector<Data>& data) {
          put(data[tensor].arrays[1], data[tensor].spec.count - 1, data[tensor].spec.dtype, bad);
        });
      }
    }
  }
  pass.zero_gradients = 0;
  compare(tails(), {plain_group()}, pass, 2);  // all are finite: as ever
}

TEST(CudaAdadelta, ReadsLrFromMemory) {
  // Both sides read an address of their own, so the CPU's result stands for the number in memory.
  for (const int32_t dtype : {ADN_DTYPE_FLOAT32, ADN_DTYPE_FLOAT64}) {
    const DeviceArray<float> p(Floats(100, 1.0f)), g(Floats(100, 0.5f)), v(Floats(100, 0.0f)), u(Floats(100, 0.0f));
    const DeviceArray<uint64_t> step(std::vector<uint64_t>{0});
    DeviceArray<float> lr32(Floats{0.25f});
    DeviceArray<double> lr64(std::vector<double>{0.25});
    adn_adadelta_group group = plain_group();
    group.lr_memory = dtype == ADN_DTYPE_FLOAT32 ? static_cast<void*>(lr32.get()) : lr64.get();
    group.lr_dtype = dtype;
    const DeviceArray<adn_adadelta_group> groups(std::vector<adn_adadelta_group>{group});
    adn_adadelta_pass pass = plain_pass();
    pass.groups = groups.get();
    pass.group_count = 1;
    const std::vector<adn_adadelta_piece> pieces = {
        {p.get(), g.get(), v.get(), u.get(), nullptr, nullptr, step.get(), 100, 0, 0, ADN_DTYPE_FLOAT32}};
    const DeviceArray<adn_adadelta_piece> dpieces(pieces);
    const DeviceArray<adn_adadelta_pass> dpass(std::vector<adn_adadelta_pass>{pass});
    const DeviceArray<AdadeltaChunk> chunks(std::vector<AdadeltaChunk>{{0, 0}});
    const DeviceArray<AdadeltaState> state(std::vector<AdadeltaState>{AdadeltaState{}});
    const auto moved = [&] {
      const float before = p.read()[7];
      check_cuda(
          adn::cuda::adadelta(nullptr, {dpieces.get(), chunks.get(), 1, dpass.get(), state.get(), nullptr}, false));
      return before - p.read()[7];
    };
    const float first = moved();
    EXPECT_GT(first, 0);
    lr32.write({0});
    lr64.write({0});
    EXPECT_EQ(0, moved());
    EXPECT_EQ(2u, step.read()[0]);
  }
}

// By the same formula on both sides; the gradient by lr is a sum, added in another order.
template <class T>
void check_vjp(int32_t dtype, uint64_t count) {
  Random random(count);
  std::vector<T> arrays[8];
  for (int a = 0; a < 8; ++a) {
    for (uint64_t i = 0; i < count; ++i) {
      const auto value = static_cast<T>(random.real(-1, 1));
      arrays[a].push_back(a == 2 || a == 3 ? value * value + T(0.01) : value);
    }
  }
  adn_adadelta_group group = plain_group();
  group.weight_decay = 0.1;
  group.decoupled_weight_decay = 0.01;
  std::vector<T> cpu[8];
  std::copy(arrays, arrays + 8, cpu);
  const adn_adadelta_vjp cpu_vjp = {cpu[0].data(),
                                    cpu[1].data(),
                                    cpu[2].data(),
                                    cpu[3].data(),
                                    cpu[4].data(),
                                    cpu[5].data(),
                                    cpu[6].data(),
                                    cpu[7].data(),
                                    count,
                                    dtype,
                                    0};
  const adn_backend& backend = adn::cpu_backend();
  adn_context_options options = cpu_options();
  void* device = nullptr;
  require_ok(backend.device_create(&device, &options));
  double expected = 1;
  require_ok(backend.adadelta_vjp(&expected, device, &cpu_vjp, &group));
  backend.device_destroy(device);

  in_each_order([&](cudaStream_t stream) {
    std::vector<DeviceArray<T>> d;
    for (const std::vector<T>& array : arrays) d.emplace_back(array);
    const DeviceArray<double> lr_bar(std::vector<double>{1});
    const DeviceArray<char> workspace(adadelta_vjp_workspace(count));
    check_cuda(adadelta_vjp(stream, lr_bar.get(),
                            {d[0].get(), d[1].get(), d[2].get(), d[3].get(), d[4].get(), d[5].get(), d[6].get(),
                             d[7].get(), count, dtype, 0},
                            group, workspace.get()));
    wait(stream);
    for (int a = 0; a < 8; ++a) EXPECT_EQ(cpu[a], d[a].read()) << "array " << a;
    // The terms are below 40 each; sums of double in two orders differ by less than count roundings of the largest.
    EXPECT_NEAR(expected, lr_bar.read()[0], 1e-15 * 40 * static_cast<double>(count) * std::sqrt(count) + 1e-15);
  });
}

TEST(CudaAdadelta, GoesBackThroughAStep) {
  for (const uint64_t count : {1, 255, 1000, 16385, 40000}) {
    check_vjp<float>(ADN_DTYPE_FLOAT32, count);
    check_vjp<double>(ADN_DTYPE_FLOAT64, count);
  }
}

}  // namespace
}  // namespace adadelta::test
