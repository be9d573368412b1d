// The rules of the ABI: option structs, NULL, messages, nothing changed on failure, life times, layer and state errors.
#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <thread>

#include "support.h"

namespace adadelta::test {
namespace {

constexpr adn_status invalid = ADN_STATUS_INVALID_ARGUMENT;

// ---- Versions and statuses ----

TEST(Version, IsThatOfTheHeader) {
  EXPECT_EQ(ADN_ABI_VERSION, adn_abi_version());
  EXPECT_STREQ(ADN_TEST_VERSION, adn_version());
}

TEST(Status, HasAName) {
  EXPECT_STREQ("invalid argument", adn_status_name(ADN_STATUS_INVALID_ARGUMENT));
  std::vector<std::string> names;
  for (adn_status status = ADN_STATUS_OK; status <= ADN_STATUS_INTERNAL_ERROR; ++status) {
    names.emplace_back(adn_status_name(status));
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names.end(), std::unique(names.begin(), names.end()));
  EXPECT_STREQ("unknown status", adn_status_name(99));
  EXPECT_STREQ("unknown status", adn_status_name(-1));
}

// ---- Last error ----

TEST(LastError, IsPerThread) {
  expect_failure(invalid, adn_random_bits(nullptr, 1, 0, 0, 0), {"bits"});
  std::string other_before, other_after;
  std::thread([&] {
    other_before = adn_last_error();
    adn_random_permutation(nullptr, 1, 0, 0);
    other_after = adn_last_error();
  }).join();
  EXPECT_EQ("", other_before);
  EXPECT_NE(std::string::npos, other_after.find("order"));
  EXPECT_NE(std::string::npos, std::string(adn_last_error()).find("bits"));
}

TEST(LastError, OutlivesSuccess) {
  adn_random_bits(nullptr, 1, 0, 0, 0);
  const std::string before = adn_last_error();
  check(adn_random_bits(nullptr, 0, 0, 0, 0));
  EXPECT_EQ(before, adn_last_error());
}

TEST(LastError, IsCutAt1023Bytes) {
  const Context context = make_context();
  const Network network(context.get(), Layers({1, 2, 2}).relu());
  const std::string name(5000, 'x');
  uint64_t index = 42;
  expect_failure(invalid, adn_network_find_parameter(&index, network.get(), name.c_str()), {"name", "xxxx"});
  EXPECT_LE(std::strlen(adn_last_error()), 1023u);
  EXPECT_EQ(42u, index);
}

// ---- Option structs ----

// A caller whose struct is larger than the library's.
template <class Options>
struct Larger {
  Options options;
  unsigned char tail[16];
};

template <class Options>
void check_init(adn_status (*init)(Options*, uint32_t), const char* name) {
  SCOPED_TRACE(name);
  Larger<Options> larger;
  std::memset(static_cast<void*>(&larger), 0xAB, sizeof larger);
  check(init(&larger.options, sizeof larger));
  EXPECT_EQ(sizeof larger, larger.options.struct_size);
  for (unsigned char byte : larger.tail) {
    EXPECT_EQ(0, byte);
  }

  Options whole;
  check(init(&whole, sizeof whole));
  EXPECT_EQ(sizeof whole, whole.struct_size);
  larger.options.struct_size = sizeof whole;
  EXPECT_EQ(0, std::memcmp(&whole, &larger.options, sizeof whole));

  // Eight bytes: struct_size and one field. The rest belongs to somebody else.
  Options smaller;
  std::memset(static_cast<void*>(&smaller), 0xAB, sizeof smaller);
  check(init(&smaller, 8));
  EXPECT_EQ(8u, smaller.struct_size);
  EXPECT_EQ(0, std::memcmp(reinterpret_cast<char*>(&whole) + 4, reinterpret_cast<char*>(&smaller) + 4, 4));
  for (size_t i = 8; i < sizeof smaller; ++i) {
    EXPECT_EQ(0xAB, reinterpret_cast<unsigned char*>(&smaller)[i]) << "byte " << i;
  }

  for (uint32_t size : {0u, 1u, 3u}) {
    expect_failure(invalid, init(&whole, size), {"struct_size", std::to_string(size)});
  }
  EXPECT_EQ(sizeof whole, whole.struct_size);
  expect_failure(invalid, init(nullptr, sizeof whole), {"NULL"});
}

TEST(OptionStructs, InitWritesWhatTheCallerHas) {
  check_init(adn_context_options_init, "context");
  check_init(adn_network_options_init, "network");
  check_init(adn_adadelta_options_init, "adadelta");
  check_init<adn_layer>([](adn_layer* layer, uint32_t size) { return adn_layer_init(layer, size, ADN_LAYER_CONV2D); },
                        "layer");
}

TEST(OptionStructs, DefaultsAreThoseOfTheHeader) {
  adn_context_options context;
  check(adn_context_options_init(&context, sizeof context));
  EXPECT_EQ(ADN_DEVICE_AUTO, context.device_type);
  EXPECT_EQ(0u, context.thread_count);
  EXPECT_EQ(ADN_INSTRUCTION_SET_AUTO, context.instruction_set);
  adn_network_options network;
  check(adn_network_options_init(&network, sizeof network));
  EXPECT_EQ(64u, network.max_batch_size);
  EXPECT_EQ(ADN_REDUCTION_MEAN, network.reduction);
  EXPECT_EQ(0u, network.seed);
  EXPECT_EQ(0, network.input_gradient);
  for (int32_t kind = ADN_LAYER_CONV2D; kind <= ADN_LAYER_DROPOUT; ++kind) {
    adn_layer layer;
    check(adn_layer_init(&layer, sizeof layer, kind));
    const bool pool = kind == ADN_LAYER_MAXPOOL2D || kind == ADN_LAYER_AVGPOOL2D;
    EXPECT_EQ(kind, layer.kind);
    EXPECT_EQ(nullptr, layer.name);
    EXPECT_EQ(0u, layer.out_features);
    EXPECT_EQ(0.5f, layer.probability);
    EXPECT_EQ(1, layer.bias);
    for (int axis = 0; axis < 2; ++axis) {
      EXPECT_EQ(1u, layer.kernel[axis]);
      EXPECT_EQ(pool ? 0u : 1u, layer.stride[axis]);
      EXPECT_EQ(0u, layer.padding[axis]);
      EXPECT_EQ(1u, layer.dilation[axis]);
    }
  }
  adn_layer layer;
  for (int32_t kind : {0, -1, 8}) {
    expect_failure(invalid, adn_layer_init(&layer, sizeof layer, kind), {"kind", std::to_string(kind)});
  }
}

TEST(OptionStructs, ALargerOneNeedsAZeroTail) {
  const Context context = make_context();
  Larger<adn_adadelta_options> options;
  check(adn_adadelta_options_init(&options.options, sizeof options));
  adn_adadelta* optimizer = nullptr;
  check(adn_adadelta_create(&optimizer, context.get(), &options.options));
  adn_adadelta_destroy(optimizer);
  optimizer = nullptr;
  for (size_t place : {0, 7, 15}) {
    std::memset(options.tail, 0, sizeof options.tail);
    options.tail[place] = 1;
    expect_failure(invalid, adn_adadelta_create(&optimizer, context.get(), &options.options), {"options", "zero"});
    EXPECT_EQ(nullptr, optimizer);
  }

  Larger<adn_context_options> context_options;
  check(adn_context_options_init(&context_options.options, sizeof context_options));
  context_options.tail[3] = 9;
  adn_context* made = nullptr;
  expect_failure(invalid, adn_context_create(&made, &context_options.options), {"options", "zero"});
  Larger<adn_network_options> network_options;
  check(adn_network_options_init(&network_options.options, sizeof network_options));
  network_options.tail[3] = 9;
  const Layers layers = Layers({1, 1, 1}).relu();
  adn_network* network = nullptr;
  expect_failure(invalid, adn_network_create(&network, context.get(), layers.list.data(), 1, &network_options.options),
                 {"options", "zero"});
}

TEST(OptionStructs, ASmallerOneTakesDefaultsForTheRest) {
  const Context context = make_context();
  adn_adadelta_options options = adadelta_options({0.5, 0.8, 77, 88, 0});
  options.struct_size = offsetof(adn_adadelta_options, eps);
  adn_adadelta* made = nullptr;
  check(adn_adadelta_create(&made, context.get(), &options));
  const OptimizerHandle optimizer(made);
  const Tensor p = make_tensor(context.get(), {1}), g = make_tensor(context.get(), {1});
  adn_tensor* parameters[] = {p.get()};
  adn_tensor* gradients[] = {g.get()};
  check(adn_adadelta_add_group(nullptr, optimizer.get(), parameters, gradients, 1, nullptr));
  adn_adadelta_options kept;
  kept.struct_size = sizeof kept;
  check(adn_adadelta_get_options(&kept, optimizer.get(), 0));
  EXPECT_EQ(0.5, kept.lr);
  EXPECT_EQ(0.8, kept.rho);
  EXPECT_EQ(1e-6, kept.eps);
  EXPECT_EQ(0.0, kept.weight_decay);

  options.struct_size = 3;
  made = nullptr;
  expect_failure(invalid, adn_adadelta_create(&made, context.get(), &options), {"struct_size", "3"});
  EXPECT_EQ(nullptr, made);
}

TEST(OptionStructs, ResultsFillWhatTheCallerHas) {
  const Context context = make_context();
  const Network network(context.get(), Layers({1, 2, 2}).relu());
  adn_network_info info;
  std::memset(static_cast<void*>(&info), 0xAB, sizeof info);
  info.struct_size = offsetof(adn_network_info, output_count);
  check(adn_network_get_info(&info, network.get()));
  EXPECT_EQ(2u, info.input_shape[2]);
  EXPECT_EQ(0xABABABABABABABABu, info.output_count);
  info.struct_size = 0;
  expect_failure(invalid, adn_network_get_info(&info, network.get()), {"struct_size", "0"});
}

TEST(OptionStructs, LayersStandAtTheirOwnSize) {
  const Context context = make_context();
  Larger<adn_layer> layers[2];
  check(adn_layer_init(&layers[0].options, sizeof layers[0], ADN_LAYER_FLATTEN));
  check(adn_layer_init(&layers[1].options, sizeof layers[1], ADN_LAYER_LINEAR));
  layers[1].options.out_features = 3;
  const adn_network_options options = network_options({1, 2, 2});
  adn_network* made = nullptr;
  check(adn_network_create(&made, context.get(), &layers[0].options, 2, &options));
  const NetworkHandle network(made);
  adn_network_info info;
  info.struct_size = sizeof info;
  check(adn_network_get_info(&info, network.get()));
  EXPECT_EQ(3u, info.output_count);

  made = nullptr;
  layers[1].tail[0] = 1;
  expect_failure(invalid, adn_network_create(&made, context.get(), &layers[0].options, 2, &options),
                 {"layers[1]", "zero"});
  layers[1].tail[0] = 0;
  layers[1].options.struct_size = sizeof(adn_layer);
  expect_failure(invalid, adn_network_create(&made, context.get(), &layers[0].options, 2, &options),
                 {"layers[1]", "struct_size"});
  layers[0].options.struct_size = 2;
  expect_failure(invalid, adn_network_create(&made, context.get(), &layers[0].options, 1, &options),
                 {"layers[0]", "struct_size", "2"});
  EXPECT_EQ(nullptr, made);
}

// ---- Context ----

TEST(ContextOptions, OutOfRangeIsRefused) {
  struct Bad {
    std::function<void(adn_context_options&)> change;
    std::vector<std::string> words;
  };
  const std::vector<Bad> all = {
      {[](auto& o) { o.device_type = 9; }, {"device_type", "9"}},
      {[](auto& o) { o.device_type = -1; }, {"device_type", "-1"}},
      {[](auto& o) { o.device_index = 1; }, {"device_index", "1"}},
      {[](auto& o) { o.device_index = -1; }, {"device_index", "-1"}},
      {[](auto& o) { o.thread_count = 257; }, {"thread_count", "257", "256"}},
      {[](auto& o) { o.instruction_set = 99; }, {"instruction_set", "99"}},
      {[](auto& o) { o.instruction_set = -1; }, {"instruction_set", "-1"}},
      {[](auto& o) { o.reserved = 1; }, {"reserved", "1"}},
  };
  for (const Bad& bad : all) {
    adn_context_options options = cpu_options();
    bad.change(options);
    adn_context* context = nullptr;
    expect_failure(invalid, adn_context_create(&context, &options), bad.words);
    EXPECT_EQ(nullptr, context);
  }
}

TEST(ContextInfo, SaysWhatIsUsed) {
  for (uint32_t threads : {1u, 2u, 3u, 256u}) {
    const Context context = make_context(threads);
    adn_context_info info;
    info.struct_size = sizeof info;
    check(adn_context_get_info(&info, context.get()));
    EXPECT_EQ(ADN_DEVICE_CPU, info.device_type);
    EXPECT_EQ(0, info.device_index);
    EXPECT_EQ(threads, info.thread_count);
    EXPECT_EQ(instruction_sets().back(), info.instruction_set) << "AUTO takes the best";
    EXPECT_NE('\0', info.device_name[0]);
  }
#if defined(__aarch64__)
  const char* const baseline = "NEON";
#else
  const char* const baseline = "baseline";
#endif
  const std::vector<std::pair<int32_t, const char*>> names = {{ADN_INSTRUCTION_SET_BASELINE, baseline},
                                                              {ADN_INSTRUCTION_SET_AVX2, "AVX2+FMA"},
                                                              {ADN_INSTRUCTION_SET_AVX512, "AVX-512"}};
  for (int32_t set : instruction_sets()) {
    const Context context = make_context(1, set);
    adn_context_info info;
    info.struct_size = sizeof info;
    check(adn_context_get_info(&info, context.get()));
    EXPECT_EQ(set, info.instruction_set);
    EXPECT_STREQ(names[static_cast<size_t>(set) - 1].second, info.instruction_set_name);
  }
}

TEST(ContextInfo, DefaultsTakeEveryCore) {
  adn_context* made = nullptr;
  check(adn_context_create(&made, nullptr));
  const Context context(made);
  adn_context_info info;
  info.struct_size = sizeof info;
  check(adn_context_get_info(&info, context.get()));
  EXPECT_NE(ADN_DEVICE_AUTO, info.device_type);
  EXPECT_NE(ADN_INSTRUCTION_SET_AUTO, info.instruction_set);
  EXPECT_GE(info.thread_count, 1u);
}

TEST(Backend, ReasonsAreTold) {
  const char* reason = nullptr;
  check(adn_backend_reason(&reason, "cpu"));
  EXPECT_STREQ("", reason);
  check(adn_backend_reason(&reason, "cuda"));
  ASSERT_NE(nullptr, reason);
  if (reason[0] != '\0') {
    adn_context_options options = cpu_options();
    options.device_type = ADN_DEVICE_CUDA;
    adn_context* context = nullptr;
    expect_failure(ADN_STATUS_UNSUPPORTED, adn_context_create(&context, &options), {"CUDA"});
  }
  expect_failure(invalid, adn_backend_reason(&reason, "abacus"), {"backend", "abacus"});
}

// ---- NULL ----

TEST(Null, IsRefusedByName) {
  const Context context = make_context();
  const Network network(context.get(), Layers({1, 2, 2}).flatten().linear(2));
  const OptimizerHandle optimizer = make_optimizer(context.get(), network);
  const Tensor tensor = make_tensor(context.get(), {2});
  adn_adadelta_options options = adadelta_options();
  const adn_network_options network_options = test::network_options({1, 2, 2});
  const Layers layers = Layers({1, 2, 2}).relu();
  adn_network_info info = {};
  info.struct_size = sizeof info;
  adn_layer_info layer_info = {};
  layer_info.struct_size = sizeof layer_info;
  adn_context_info context_info = {};
  context_info.struct_size = sizeof context_info;
  uint64_t number = 0;
  uint32_t rank = 0;
  uint64_t shape[ADN_MAX_RANK] = {1};
  float value = 0;
  const float data[4] = {};
  const int32_t label = 0;
  adn_network* made = nullptr;
  adn_adadelta* made_optimizer = nullptr;
  adn_tensor* made_tensor = nullptr;
  const char* text = nullptr;
  adn_tensor* const one[] = {tensor.get()};

  const auto refused = [](adn_status status, const char* argument) {
    expect_failure(invalid, status, {argument, "NULL"});
  };
  refused(adn_context_create(nullptr, nullptr), "context");
  refused(adn_context_get_info(nullptr, context.get()), "info");
  refused(adn_context_get_info(&context_info, nullptr), "context");
  refused(adn_backend_reason(nullptr, "cpu"), "reason");
  refused(adn_backend_reason(&text, nullptr), "backend");
  refused(adn_tensor_create(nullptr, context.get(), shape, 1), "tensor");
  refused(adn_tensor_create(&made_tensor, nullptr, shape, 1), "context");
  refused(adn_tensor_create(&made_tensor, context.get(), nullptr, 1), "shape");
  refused(adn_tensor_get_shape(nullptr, shape, tensor.get()), "rank");
  refused(adn_tensor_get_shape(&rank, nullptr, tensor.get()), "shape");
  refused(adn_tensor_get_shape(&rank, shape, nullptr), "tensor");
  refused(adn_tensor_read(nullptr, 2, tensor.get()), "data");
  refused(adn_tensor_read(&value, 1, nullptr), "tensor");
  refused(adn_tensor_write(tensor.get(), nullptr, 2), "data");
  refused(adn_tensor_write(nullptr, data, 2), "tensor");
  refused(adn_tensor_fill(nullptr, 1), "tensor");
  refused(adn_network_create(nullptr, context.get(), layers.list.data(), 1, &network_options), "network");
  refused(adn_network_create(&made, nullptr, layers.list.data(), 1, &network_options), "context");
  refused(adn_network_create(&made, context.get(), nullptr, 1, &network_options), "layers");
  refused(adn_network_create(&made, context.get(), layers.list.data(), 1, nullptr), "options");
  refused(adn_network_get_info(nullptr, network.get()), "info");
  refused(adn_network_get_info(&info, nullptr), "network");
  refused(adn_network_get_layer(nullptr, network.get(), 0), "info");
  refused(adn_network_get_layer(&layer_info, nullptr, 0), "network");
  refused(adn_network_get_parameter(nullptr, nullptr, nullptr, nullptr, 0), "network");
  refused(adn_network_find_parameter(nullptr, network.get(), "fc1.weight"), "index");
  refused(adn_network_find_parameter(&number, nullptr, "fc1.weight"), "network");
  refused(adn_network_find_parameter(&number, network.get(), nullptr), "name");
  refused(adn_network_forward(nullptr, 0, nullptr, data, 4, 1, ADN_MODE_TRAIN), "network");
  refused(adn_network_forward(nullptr, 2, network.get(), data, 4, 1, ADN_MODE_TRAIN), "output");
  refused(adn_network_forward(nullptr, 0, network.get(), nullptr, 4, 1, ADN_MODE_TRAIN), "input");
  refused(adn_network_backward(nullptr, nullptr, 0), "network");
  refused(adn_network_loss(nullptr, network.get(), &label, 1), "loss");
  refused(adn_network_loss(&value, nullptr, &label, 1), "network");
  refused(adn_network_read_input_gradient(&value, 1, nullptr), "network");
  refused(adn_network_read_activation(&value, 1, nullptr, 0), "network");
  refused(adn_network_get_step(nullptr, network.get()), "step");
  refused(adn_network_get_step(&number, nullptr), "network");
  refused(adn_network_set_step(nullptr, 1), "network");
  adn_dataset* made_dataset = nullptr;
  const uint8_t bytes[4] = {};
  const uint64_t image[3] = {1, 2, 2};
  check(adn_dataset_create(&made_dataset, context.get(), bytes, 4, bytes, 1, image));
  const Dataset dataset(made_dataset);
  const uint32_t place = 0;
  for (const auto create : {adn_dataset_create, adn_dataset_create_external}) {
    refused(create(nullptr, context.get(), bytes, 4, bytes, 1, image), "dataset");
    refused(create(&made_dataset, nullptr, bytes, 4, bytes, 1, image), "context");
    refused(create(&made_dataset, context.get(), nullptr, 4, bytes, 1, image), "pixels");
    refused(create(&made_dataset, context.get(), bytes, 4, nullptr, 1, image), "labels");
    refused(create(&made_dataset, context.get(), bytes, 4, bytes, 1, nullptr), "shape");
  }
  refused(adn_network_forward_dataset(nullptr, 0, nullptr, dataset.get(), &place, 1, 0), "network");
  refused(adn_network_forward_dataset(nullptr, 0, network.get(), nullptr, &place, 1, 0), "dataset");
  refused(adn_network_forward_dataset(nullptr, 0, network.get(), dataset.get(), nullptr, 1, 0), "indices");
  refused(adn_network_forward_external(nullptr, 0, nullptr, data, 4, 1, 0), "network");
  refused(adn_network_forward_external(nullptr, 0, network.get(), nullptr, 4, 1, 0), "input");
  refused(adn_network_train_step_dataset(&value, nullptr, optimizer.get(), dataset.get(), &place, 1), "network");
  refused(adn_network_train_step_dataset(&value, network.get(), nullptr, dataset.get(), &place, 1), "optimizer");
  refused(adn_network_train_step_dataset(&value, network.get(), optimizer.get(), nullptr, &place, 1), "dataset");
  refused(adn_network_train_step_dataset(&value, network.get(), optimizer.get(), dataset.get(), nullptr, 1), "indices");
  refused(adn_network_train_step_external(&value, nullptr, optimizer.get(), data, 4, &label, 1), "network");
  refused(adn_network_train_step_external(&value, network.get(), nullptr, data, 4, &label, 1), "optimizer");
  refused(adn_network_train_step_external(&value, network.get(), optimizer.get(), nullptr, 4, &label, 1), "input");
  refused(adn_network_train_step_external(&value, network.get(), optimizer.get(), data, 4, nullptr, 1), "labels");
  refused(adn_network_read_losses(&value, 1, nullptr), "network");
  refused(adn_context_synchronize(nullptr), "context");
  refused(adn_network_train_step(&value, nullptr, optimizer.get(), data, 4, &label, 1), "network");
  refused(adn_network_train_step(&value, network.get(), nullptr, data, 4, &label, 1), "optimizer");
  refused(adn_network_train_step(&value, network.get(), optimizer.get(), nullptr, 4, &label, 1), "input");
  refused(adn_network_train_step(&value, network.get(), optimizer.get(), data, 4, nullptr, 1), "labels");
  refused(adn_adadelta_create(nullptr, context.get(), nullptr), "optimizer");
  refused(adn_adadelta_create(&made_optimizer, nullptr, nullptr), "context");
  refused(adn_adadelta_add_group(nullptr, nullptr, one, one, 1, nullptr), "optimizer");
  refused(adn_adadelta_add_group(nullptr, optimizer.get(), nullptr, one, 1, nullptr), "parameters");
  refused(adn_adadelta_add_group(nullptr, optimizer.get(), one, nullptr, 1, nullptr), "gradients");
  refused(adn_adadelta_get_group_count(nullptr, optimizer.get()), "count");
  refused(adn_adadelta_get_group_count(&number, nullptr), "optimizer");
  refused(adn_adadelta_get_options(nullptr, optimizer.get(), 0), "options");
  refused(adn_adadelta_get_options(&options, nullptr, 0), "optimizer");
  refused(adn_adadelta_set_options(optimizer.get(), 0, nullptr), "options");
  refused(adn_adadelta_set_options(nullptr, 0, &options), "optimizer");
  refused(adn_adadelta_step(nullptr), "optimizer");
  refused(adn_adadelta_get_state(nullptr, nullptr, nullptr, 0), "optimizer");
  refused(adn_adadelta_get_step(nullptr, optimizer.get()), "step");
  refused(adn_adadelta_get_step(&number, nullptr), "optimizer");
  refused(adn_adadelta_set_step(nullptr, 0), "optimizer");
  adn_adadelta_pass_options pass;
  adn_adadelta_report report;
  adn_adadelta_cotangent cotangent = {};
  int32_t dtype = 0;
  refused(adn_adadelta_options_preset(nullptr, sizeof options, 0), "options");
  refused(adn_adadelta_get_parameter_count(nullptr, optimizer.get()), "count");
  refused(adn_adadelta_get_parameter_count(&number, nullptr), "optimizer");
  refused(adn_adadelta_set_gradient(nullptr, 0, nullptr), "optimizer");
  refused(adn_adadelta_set_lr_tensor(nullptr, 0, nullptr), "optimizer");
  double lr = 0;
  refused(adn_adadelta_get_lr(nullptr, nullptr, 0), "lr");
  refused(adn_adadelta_get_lr(&lr, nullptr, 0), "optimizer");
  refused(adn_adadelta_set_lr(nullptr, 0, 1), "optimizer");
  refused(adn_adadelta_pass_options_init(nullptr, sizeof pass), "options");
  refused(adn_adadelta_get_pass_options(nullptr, optimizer.get()), "options");
  refused(adn_adadelta_get_pass_options(&pass, nullptr), "optimizer");
  refused(adn_adadelta_set_pass_options(optimizer.get(), nullptr), "options");
  refused(adn_adadelta_set_pass_options(nullptr, &pass), "optimizer");
  refused(adn_adadelta_get_report(nullptr, optimizer.get()), "report");
  refused(adn_adadelta_get_report(&report, nullptr), "optimizer");
  refused(adn_adadelta_get_weights(nullptr, nullptr, nullptr, 0), "optimizer");
  refused(adn_adadelta_get_parameter_step(nullptr, optimizer.get(), 0), "step");
  refused(adn_adadelta_get_parameter_step(&number, nullptr, 0), "optimizer");
  refused(adn_adadelta_set_parameter_step(nullptr, 0, 0), "optimizer");
  refused(adn_adadelta_get_tape_length(nullptr, optimizer.get()), "length");
  refused(adn_adadelta_get_tape_length(&number, nullptr), "optimizer");
  refused(adn_adadelta_backward(nullptr, 0, nullptr, &cotangent, 1), "optimizer");
  refused(adn_adadelta_clear_tape(nullptr), "optimizer");
  refused(adn_tensor_create_typed(nullptr, context.get(), 0, nullptr, 0), "tensor");
  refused(adn_tensor_create_typed(&made_tensor, nullptr, 0, nullptr, 0), "context");
  refused(adn_tensor_create_external(nullptr, context.get(), &value, 0, nullptr, 0, nullptr, nullptr), "tensor");
  refused(adn_tensor_create_external(&made_tensor, nullptr, &value, 0, nullptr, 0, nullptr, nullptr), "context");
  refused(adn_tensor_create_external(&made_tensor, context.get(), nullptr, 0, nullptr, 0, nullptr, nullptr), "data");
  refused(adn_tensor_get_dtype(nullptr, tensor.get()), "dtype");
  refused(adn_tensor_get_dtype(&dtype, nullptr), "tensor");
  refused(adn_tensor_read_bytes(&value, 0, 4, nullptr), "tensor");
  refused(adn_tensor_write_bytes(nullptr, data, 0, 4), "tensor");
  EXPECT_EQ(nullptr, made);
  EXPECT_EQ(nullptr, made_optimizer);
  EXPECT_EQ(nullptr, made_tensor);
}

TEST(Null, MayBeDestroyed) {
  adn_context_destroy(nullptr);
  adn_tensor_destroy(nullptr);
  adn_network_destroy(nullptr);
  adn_adadelta_destroy(nullptr);
}

TEST(Null, StandsForResultsNobodyWants) {
  const Context context = make_context();
  const Network network(context.get(), Layers({1, 2, 2}).flatten().linear(2));
  const OptimizerHandle optimizer = make_optimizer(context.get(), network);
  check(adn_network_get_parameter(nullptr, nullptr, nullptr, network.get(), 0));
  check(adn_adadelta_get_state(nullptr, nullptr, optimizer.get(), 0));
  const float data[4] = {1, 2, 3, 4};
  check(adn_network_forward(nullptr, 0, network.get(), data, 4, 1, ADN_MODE_EVALUATE));
}

// ---- Tensor ----

TEST(TensorCalls, ReadWriteAndFill) {
  const Context context = make_context();
  const Tensor tensor = make_tensor(context.get(), {2, 3});
  EXPECT_EQ((std::vector<uint64_t>{2, 3}), shape_of(tensor.get()));
  EXPECT_EQ(Floats(6), read(tensor.get()));
  write(tensor.get(), {1, 2, 3, 4, 5, 6});
  EXPECT_EQ((Floats{1, 2, 3, 4, 5, 6}), read(tensor.get()));
  check(adn_tensor_fill(tensor.get(), -2.5f));
  EXPECT_EQ(Floats(6, -2.5f), read(tensor.get()));
  const Tensor scalar = make_tensor(context.get(), {});
  EXPECT_EQ(1u, read(scalar.get()).size());
  adn_tensor* made = nullptr;
  check(adn_tensor_create(&made, context.get(), nullptr, 0));
  adn_tensor_destroy(made);
}

TEST(TensorCalls, RefuseWrongShapesAndCounts) {
  const Context context = make_context();
  adn_tensor* made = nullptr;
  const uint64_t nine[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, zero[2] = {3, 0}, huge[2] = {1ull << 33, 1ull << 33};
  expect_failure(invalid, adn_tensor_create(&made, context.get(), nine, 9), {"rank", "9", "8"});
  expect_failure(invalid, adn_tensor_create(&made, context.get(), zero, 2), {"shape[1]", "0"});
  expect_failure(invalid, adn_tensor_create(&made, context.get(), huge, 2), {"shape[1]", "8589934592"});
  EXPECT_EQ(nullptr, made);

  const Tensor tensor = make_tensor(context.get(), {2, 3});
  write(tensor.get(), {1, 2, 3, 4, 5, 6});
  float data[7] = {9, 9, 9, 9, 9, 9, 9};
  for (uint64_t count : {0, 5, 7}) {
    const std::vector<std::string> words = {"count", std::to_string(count), "6"};
    expect_failure(invalid, adn_tensor_read(data, count, tensor.get()), words);
    expect_failure(invalid, adn_tensor_write(tensor.get(), data, count), words);
  }
  EXPECT_EQ(9, data[0]);
  EXPECT_EQ((Floats{1, 2, 3, 4, 5, 6}), read(tensor.get()));
}

TEST(Memory, TooMuchIsOutOfMemory) {
#if defined(ADN_TEST_SANITIZED)
  GTEST_SKIP() << "a sanitizer's allocator ends the program instead";
#endif
  const Context context = make_context();
  adn_tensor* tensor = nullptr;
  const uint64_t shape[1] = {1ull << 58};
  expect_failure(ADN_STATUS_OUT_OF_MEMORY, adn_tensor_create(&tensor, context.get(), shape, 1), {"memory"});
  EXPECT_EQ(nullptr, tensor);
  const Layers layers = Layers({1, 1, 1ull << 30}).relu();
  NetworkSettings settings;
  settings.max_batch_size = 1ull << 9;
  const adn_network_options options = network_options(layers.input, settings);
  adn_network* network = nullptr;
  const adn_status status = adn_network_create(&network, context.get(), layers.list.data(), 1, &options);
  // 2^39 floats, several times over: refused here, unless the machine really has terabytes.
  if (status != ADN_STATUS_OK) {
    EXPECT_EQ(ADN_STATUS_OUT_OF_MEMORY, status) << adn_last_error();
    EXPECT_EQ(nullptr, network);
  }
  adn_network_destroy(network);
}

// ---- Life times ----

TEST(LifeTime, ObjectsMayGoInAnyOrder) {
  // Every order of destroying a context, a network, its parameter, an optimizer and its state; what is left is used on.
  std::vector<int> order = {0, 1, 2, 3, 4};
  do {
    Context context = make_context(2);
    auto network = std::make_unique<Network>(context.get(), Layers({1, 6, 6}).conv(4, 3).relu().flatten().linear(3));
    OptimizerHandle optimizer = make_optimizer(context.get(), *network);
    adn_tensor* value = nullptr;
    check(adn_network_get_parameter(&value, nullptr, nullptr, network->get(), 0));
    Tensor parameter(value);
    adn_tensor* square_avg = nullptr;
    check(adn_adadelta_get_state(&square_avg, nullptr, optimizer.get(), 0));
    Tensor state(square_avg);
    const Floats input(2 * 36, 0.5f);
    for (int victim : order) {
      switch (victim) {
        case 0:
          context.reset();
          break;
        case 1:
          network.reset();
          break;
        case 2:
          parameter.reset();
          break;
        case 3:
          optimizer.reset();
          break;
        case 4:
          state.reset();
          break;
      }
      if (network != nullptr && optimizer != nullptr) {
        network->train_step(optimizer.get(), input, {0, 2});
      } else if (network != nullptr) {
        network->forward(input);
      } else if (optimizer != nullptr) {
        check(adn_adadelta_step(optimizer.get()));
      }
      if (parameter != nullptr) {
        EXPECT_EQ(36u, read(parameter.get()).size());
      }
      if (state != nullptr) {
        EXPECT_EQ(36u, read(state.get()).size());
      }
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

// ---- Layers ----

adn_status create(const Layers& layers, const adn_network_options& options) {
  static const Context context = make_context();
  adn_network* network = nullptr;
  const adn_status status =
      adn_network_create(&network, context.get(), layers.list.data(), layers.list.size(), &options);
  EXPECT_EQ(status == ADN_STATUS_OK, network != nullptr);
  adn_network_destroy(network);
  return status;
}

adn_status create(const Layers& layers) { return create(layers, network_options(layers.input)); }

TEST(LayerErrors, NameTheLayerAndBothShapes) {
  // A window larger than the image.
  expect_failure(invalid, create(Layers({2, 8, 7}).conv(3, 3).conv(4, {7, 2})), {"conv2", "[3, 6, 5]", "7"});
  expect_failure(invalid, create(Layers({2, 8, 7}).conv(3, 3, 1, 0, 4)), {"conv1", "[2, 8, 7]", "9"});
  expect_failure(invalid, create(Layers({2, 8, 7}).max_pool(2).max_pool(5)), {"pool2", "[2, 4, 3]", "5"});
  expect_failure(invalid, create(Layers({2, 8, 7}).avg_pool(9)), {"pool1", "[2, 8, 7]", "9"});
  // An image where a vector is needed, and the other way round.
  expect_failure(invalid, create(Layers({2, 8, 7}).linear(3)), {"fc1", "[2, 8, 7]", "112", "Flatten"});
  expect_failure(invalid, create(Layers({2, 8, 7}).flatten().conv(3, 1)), {"conv1", "[112]", "image"});
  expect_failure(invalid, create(Layers({2, 8, 7}).flatten().linear(9).max_pool(1)), {"pool1", "[9]", "image"});
  expect_failure(invalid, create(Layers({2, 8, 7}).flatten().avg_pool(1)), {"pool1", "[112]", "image"});
}

TEST(LayerErrors, NameThePropertyTheValueAndTheBound) {
  const auto changed = [](Layers layers, const std::function<void(adn_layer&)>& change) {
    change(layers.list.back());
    return create(layers);
  };
  const Layers conv = Layers({3, 8, 8}).conv(4, 3), pool = Layers({3, 8, 8}).max_pool(3),
               average = Layers({3, 8, 8}).avg_pool(2), linear = Layers({3, 1, 1}).flatten().linear(4);
  const auto expect_refused = [&](const Layers& layers, const std::function<void(adn_layer&)>& change,
                                  std::vector<std::string> words) {
    words.emplace_back("expected");
    expect_failure(invalid, changed(layers, change), words);
  };
  for (int axis : {0, 1}) {
    const std::string place = "[" + std::to_string(axis) + "]";
    expect_refused(conv, [&](auto& l) { l.kernel[axis] = 0; }, {"conv1", "kernel" + place, "0"});
    expect_refused(conv, [&](auto& l) { l.stride[axis] = 0; }, {"conv1", "stride" + place, "0"});
    expect_refused(conv, [&](auto& l) { l.dilation[axis] = 0; }, {"conv1", "dilation" + place, "0"});
    expect_refused(pool, [&](auto& l) { l.padding[axis] = 2; }, {"pool1", "padding" + place, "2", "half"});
    expect_refused(pool, [&](auto& l) { l.dilation[axis] = 2; }, {"pool1", "dilation" + place, "2"});
    expect_refused(average, [&](auto& l) { l.padding[axis] = 2; }, {"pool1", "padding" + place, "2", "half"});
    expect_refused(average, [&](auto& l) { l.kernel[axis] = 0; }, {"pool1", "kernel" + place, "0"});
    // Extents whose products and sums would not fit 64 bits.
    for (uint64_t huge : {~0ull, 1ull << 63, 1ull << 32}) {
      const std::string value = std::to_string(huge);
      expect_refused(conv, [&](auto& l) { l.kernel[axis] = huge; }, {"conv1", "kernel" + place, value});
      expect_refused(conv, [&](auto& l) { l.stride[axis] = huge; }, {"conv1", "stride" + place, value});
      expect_refused(conv, [&](auto& l) { l.padding[axis] = huge; }, {"conv1", "padding" + place, value});
      expect_refused(conv, [&](auto& l) { l.dilation[axis] = huge; }, {"conv1", "dilation" + place, value});
      expect_refused(pool, [&](auto& l) { l.stride[axis] = huge; }, {"pool1", "stride" + place, value});
    }
  }
  for (const Layers& layers : {conv, linear}) {
    const std::string name = layers.list.size() == 1 ? "conv1" : "fc1";
    expect_refused(layers, [](auto& l) { l.out_features = 0; }, {name, "out_features", "0"});
    expect_refused(layers, [](auto& l) { l.out_features = ~0ull; }, {name, "out_features", "18446744073709551615"});
    expect_refused(layers, [](auto& l) { l.bias = 2; }, {name, "bias", "2"});
    expect_refused(layers, [](auto& l) { l.bias = -1; }, {name, "bias", "-1"});
  }
  for (const auto& [value, text] :
       std::vector<std::pair<float, const char*>>{{1.0f, "1"},
                                                  {-0.25f, "-0.25"},
                                                  {1.5f, "1.5"},
                                                  {NAN, "nan"},
                                                  {std::numeric_limits<float>::infinity(), "inf"}}) {
    expect_refused(Layers({3, 1, 1}).dropout(0.5f), [&, v = value](auto& l) { l.probability = v; },
                   {"dropout1", "probability", text});
  }
  Layers unknown = Layers({3, 1, 1}).relu();
  unknown.list[0].kind = 77;
  expect_failure(invalid, create(unknown), {"layers[0]", "kind", "77"});
}

TEST(LayerErrors, NetworkOptionsOutOfRange) {
  const Layers layers = Layers({1, 4, 4}).relu();
  const auto expect_refused = [&](const std::function<void(adn_network_options&)>& change,
                                  const std::vector<std::string>& words) {
    adn_network_options options = network_options(layers.input);
    change(options);
    expect_failure(invalid, create(layers, options), words);
  };
  for (int i = 0; i < 3; ++i) {
    expect_refused([&](auto& o) { o.input_shape[i] = 0; }, {"input_shape[" + std::to_string(i) + "]", "0"});
    expect_refused([&](auto& o) { o.input_shape[i] = ~0ull; }, {"input_shape[" + std::to_string(i) + "]"});
  }
  expect_refused([](auto& o) { o.max_batch_size = 0; }, {"max_batch_size", "0", "1"});
  expect_refused([](auto& o) { o.max_batch_size = ~0ull; }, {"max_batch_size", "18446744073709551615"});
  expect_refused([](auto& o) { o.reduction = 2; }, {"reduction", "2"});
  expect_refused([](auto& o) { o.reduction = -1; }, {"reduction", "-1"});
  expect_refused([](auto& o) { o.input_gradient = 2; }, {"input_gradient", "2"});
  expect_refused([](auto& o) { o.inference = 3; }, {"inference", "3"});
  expect_refused([](auto& o) { o.inference = o.input_gradient = 1; }, {"input_gradient", "inference"});
  // Each extent is fine, their product is not.
  expect_refused(
      [](auto& o) {
        o.input_shape[0] = o.input_shape[1] = o.input_shape[2] = 1u << 30;
        o.max_batch_size = 1;
      },
      {"expected"});
  expect_failure(invalid, create(Layers({1, 1, 1})), {"layer_count", "0"});
  expect_failure(invalid, create(Layers({1, 2, 2}).flatten().flatten()), {"layers", "2", "Flatten"});
}

// ---- Names ----

TEST(Names, DefaultsNumberByKind) {
  const Context context = make_context();
  const Network network(context.get(), Layers({1, 16, 16})
                                           .conv(4, 3)
                                           .max_pool(2)
                                           .relu()
                                           .conv(4, 3)
                                           .avg_pool(2)
                                           .relu()
                                           .dropout(0.5f)
                                           .flatten()
                                           .linear(8)
                                           .relu()
                                           .linear(4)
                                           .dropout(0.1f));
  const std::vector<std::string> expected = {"conv1",    "pool1",    "relu1", "conv2", "pool2", "relu2",
                                             "dropout1", "flatten1", "fc1",   "relu3", "fc2",   "dropout2"};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(expected[i], network.layer(i).name);
  }
  const std::vector<std::string> parameters = {"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias",
                                               "fc1.weight",   "fc1.bias",   "fc2.weight",   "fc2.bias"};
  const std::vector<std::vector<uint64_t>> shapes = {{4, 1, 3, 3}, {4}, {4, 4, 3, 3}, {4}, {8, 16}, {8}, {4, 8}, {4}};
  ASSERT_EQ(parameters.size(), network.parameter_count());
  for (size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_EQ(parameters[i], network.name(i));
    EXPECT_EQ(shapes[i], shape_of(network.value(i)));
    EXPECT_EQ(shapes[i], shape_of(network.gradient(i)));
    uint64_t index = 99;
    check(adn_network_find_parameter(&index, network.get(), parameters[i].c_str()));
    EXPECT_EQ(i, index);
  }
  uint64_t index = 99;
  for (const char* name : {"conv3.weight", "conv1", "", "CONV1.weight"}) {
    expect_failure(invalid, adn_network_find_parameter(&index, network.get(), name), {"name", name});
  }
  EXPECT_EQ(99u, index);
}

TEST(Names, MayBeGiven) {
  const Context context = make_context();
  Layers layers = Layers({2, 4, 4}).conv(4, 3, 1, 0, 1, 0).flatten().linear(3);
  std::string longest(63, 'n');
  layers.list[0].name = "features.0-a_B";
  layers.list[2].name = longest.c_str();
  const Network network(context.get(), layers);
  longest = "gone";  // names are copied
  EXPECT_STREQ("features.0-a_B", network.layer(0).name);
  EXPECT_STREQ("flatten1", network.layer(1).name);
  EXPECT_EQ(std::string(63, 'n'), network.layer(2).name);
  ASSERT_EQ(3u, network.parameter_count());
  EXPECT_EQ("features.0-a_B.weight", network.name(0));
  EXPECT_EQ(std::string(63, 'n') + ".weight", network.name(1));
  EXPECT_EQ(std::string(63, 'n') + ".bias", network.name(2));
}

TEST(Names, BadOnesAreRefused) {
  const std::string too_long(64, 'n');
  for (const char* name : {"", "a b", "a/b", "a\nb", "é", "a%sb", too_long.c_str()}) {
    SCOPED_TRACE(name);
    Layers layers = Layers({1, 1, 1}).relu().relu();
    layers.list[1].name = name;
    expect_failure(invalid, create(layers), {"layers[1]", "name", "expected 1 to 63"});
  }
  Layers twice = Layers({1, 1, 1}).relu().relu().relu();
  twice.list[0].name = "a";
  twice.list[2].name = "a";
  expect_failure(invalid, create(twice), {"layers[2]", "name", "\"a\""});
  Layers as_default = Layers({1, 1, 1}).relu().relu();
  as_default.list[1].name = "relu1";
  expect_failure(invalid, create(as_default), {"layers[1]", "name", "relu1"});
}

// ---- Calls in the wrong order and with wrong counts ----

class NetworkCalls : public testing::Test {
 protected:
  NetworkCalls() : context_(make_context()), network_(context_.get(), layers(), settings()) {}

  static Layers layers() { return Layers({1, 6, 6}).conv(4, 3).max_pool(2).relu().flatten().linear(3); }
  static NetworkSettings settings() {
    NetworkSettings settings;
    settings.max_batch_size = 4;
    return settings;
  }
  adn_status forward(uint64_t output_total, uint64_t input_count, uint64_t batch, int32_t mode = ADN_MODE_TRAIN) {
    return adn_network_forward(output_, output_total, network_.get(), input_.data(), input_count, batch, mode);
  }
  adn_status loss(std::vector<int32_t> labels) {
    return adn_network_loss(&loss_, network_.get(), labels.data(), labels.size());
  }
  adn_status backward() { return adn_network_backward(network_.get(), nullptr, 0); }
  adn_status backward_from(uint64_t count) { return adn_network_backward(network_.get(), output_, count); }

  Context context_;
  Network network_;
  Floats input_ = Random(1).reals(5 * 36);
  float output_[15] = {};
  float loss_ = -7;
};

constexpr adn_status wrong_state = ADN_STATUS_INVALID_STATE;

TEST_F(NetworkCalls, InTheWrongOrderAreRefused) {
  float data[1000];
  expect_failure(wrong_state, loss({0, 1}), {"forward"});
  expect_failure(wrong_state, backward(), {"forward"});
  expect_failure(wrong_state, backward_from(6), {"forward"});
  expect_failure(wrong_state, adn_network_read_activation(data, 3, network_.get(), 4), {"forward"});
  expect_failure(wrong_state, adn_network_read_input_gradient(data, 36, network_.get()), {"backward"});
  EXPECT_EQ(-7, loss_);

  // Evaluation gives a loss, but no way back.
  check(forward(6, 72, 2, ADN_MODE_EVALUATE));
  check(loss({0, 1}));
  expect_failure(wrong_state, backward(), {"TRAIN"});
  expect_failure(wrong_state, backward_from(6), {"TRAIN"});

  check(forward(6, 72, 2));
  expect_failure(wrong_state, backward(), {"loss"});
  expect_failure(wrong_state, adn_network_read_input_gradient(data, 72, network_.get()), {"backward"});
  check(loss({0, 1}));
  check(backward());
  check(adn_network_read_input_gradient(data, 72, network_.get()));

  // A new forward pass makes the old loss useless.
  check(forward(6, 72, 2));
  expect_failure(wrong_state, backward(), {"loss"});
  check(backward_from(6));
}

TEST_F(NetworkCalls, InputGradientMustBeAskedFor) {
  NetworkSettings settings;
  settings.input_gradient = 0;
  Network network(context_.get(), layers(), settings);
  network.forward(Floats(36));
  network.loss({0});
  network.backward();
  float data[36];
  expect_failure(wrong_state, adn_network_read_input_gradient(data, 36, network.get()), {"input_gradient"});
}

TEST_F(NetworkCalls, WrongCountsAreRefused) {
  expect_failure(invalid, forward(0, 0, 0), {"batch_size", "0", "4"});
  expect_failure(invalid, forward(15, 180, 5), {"batch_size", "5", "4"});
  expect_failure(invalid, forward(6, 71, 2), {"input_count", "71", "72"});
  expect_failure(invalid, forward(5, 72, 2), {"output_total", "5", "6"});
  expect_failure(invalid, forward(6, 72, 2, 2), {"mode", "2"});
  expect_failure(invalid, forward(6, 72, 2, -1), {"mode", "-1"});
  uint64_t step = 9;
  check(adn_network_get_step(&step, network_.get()));
  EXPECT_EQ(0u, step) << "a refused pass does not count";

  check(forward(6, 72, 2));
  expect_failure(invalid, loss({0}), {"label_count", "1", "2"});
  expect_failure(invalid, loss({0, 1, 2}), {"label_count", "3", "2"});
  expect_failure(invalid, loss({}), {"label", "0", "2"});
  expect_failure(invalid, backward_from(5), {"output_gradient_count", "5", "6"});
  check(loss({0, 1}));
  check(backward());
  float data[1000];
  expect_failure(invalid, adn_network_read_input_gradient(data, 36, network_.get()), {"count", "36", "72"});
  expect_failure(invalid, adn_network_read_activation(data, 5, network_.get(), 4), {"count", "5", "6"});
  expect_failure(invalid, adn_network_read_activation(data, 6, network_.get(), 5), {"layer_index", "5"});
  adn_layer_info info;
  info.struct_size = sizeof info;
  expect_failure(invalid, adn_network_get_layer(&info, network_.get(), 5), {"index", "5"});
  adn_tensor* value = nullptr;
  expect_failure(invalid, adn_network_get_parameter(&value, nullptr, nullptr, network_.get(), 4), {"index", "4"});
  EXPECT_EQ(nullptr, value);
}

TEST_F(NetworkCalls, LabelsOutOfRangeAreRefused) {
  check(forward(6, 72, 2));
  expect_failure(invalid, loss({0, 3}), {"labels[1]", "3"});
  expect_failure(invalid, loss({-1, 0}), {"labels[0]", "-1"});
  EXPECT_EQ(-7, loss_);
  expect_failure(wrong_state, backward(), {"loss"});
}

TEST_F(NetworkCalls, ActivationsOfFusedLayersAreUnsupported) {
  check(forward(6, 72, 2));
  float data[1000];
  for (uint64_t i = 0; i < network_.info().layer_count; ++i) {
    const adn_layer_info info = network_.layer(i);
    const uint64_t count = 2 * info.output_shape[0] * info.output_shape[1] * info.output_shape[2];
    const adn_status status = adn_network_read_activation(data, count, network_.get(), i);
    if (info.has_activation) {
      check(status);
    } else {
      expect_failure(ADN_STATUS_UNSUPPORTED, status, {info.name});
    }
  }
  EXPECT_EQ(1, network_.layer(4).has_activation) << "the logits are always there";
}

TEST_F(NetworkCalls, AFailureChangesNothing) {
  check(forward(6, 72, 2));
  check(loss({0, 1}));
  const float expected = loss_;
  const std::vector<Floats> gradients = network_.gradients();
  // Refused calls between a loss and its backward pass.
  forward(6, 71, 2);
  loss({0, 99});
  backward_from(1);
  EXPECT_EQ(expected, loss_);
  expect_same_bits(gradients, network_.gradients(), "gradients");
  check(backward());
  EXPECT_NE(gradients, network_.gradients());
}

TEST_F(NetworkCalls, ARefusedTrainStepChangesNothing) {
  const OptimizerHandle optimizer = make_optimizer(context_.get(), network_);
  network_.train_step(optimizer.get(), Floats(72, 0.5f), {0, 1});
  const std::vector<Floats> values = network_.values(), gradients = network_.gradients();
  const Context other = make_context();
  const OptimizerHandle foreign = make_optimizer(other.get());
  float loss = -7;
  const auto step = [&](adn_adadelta* by, uint64_t count, const std::vector<int32_t>& labels) {
    return adn_network_train_step(&loss, network_.get(), by, input_.data(), count, labels.data(), labels.size());
  };
  expect_failure(invalid, step(optimizer.get(), 72, {0, 3}), {"labels[1]", "3"});
  expect_failure(invalid, step(optimizer.get(), 72, {-5, 0}), {"labels[0]", "-5"});
  expect_failure(invalid, step(optimizer.get(), 71, {0, 1}), {"input_count", "71", "72"});
  expect_failure(invalid, step(optimizer.get(), 0, {}), {"batch_size", "0"});
  expect_failure(invalid, step(optimizer.get(), 180, {0, 0, 0, 0, 0}), {"batch_size", "5"});
  expect_failure(invalid, step(foreign.get(), 72, {0, 1}), {"optimizer", "context"});
  EXPECT_EQ(-7, loss);
  expect_same_bits(values, network_.values(), "values");
  expect_same_bits(gradients, network_.gradients(), "gradients");
  uint64_t network_step = 0, optimizer_step = 0;
  check(adn_network_get_step(&network_step, network_.get()));
  check(adn_adadelta_get_step(&optimizer_step, optimizer.get()));
  EXPECT_EQ(1u, network_step);
  EXPECT_EQ(1u, optimizer_step);
}

TEST_F(NetworkCalls, StepsCountTrainingPassesAlone) {
  uint64_t step = 9;
  check(adn_network_get_step(&step, network_.get()));
  EXPECT_EQ(0u, step);
  check(forward(6, 72, 2));
  check(forward(6, 72, 2, ADN_MODE_EVALUATE));
  check(forward(6, 72, 2));
  check(adn_network_get_step(&step, network_.get()));
  EXPECT_EQ(2u, step);
  check(adn_network_set_step(network_.get(), 1000));
  check(forward(6, 72, 2));
  check(adn_network_get_step(&step, network_.get()));
  EXPECT_EQ(1001u, step);
}

// The handles show the network's own storage, in both directions.
TEST_F(NetworkCalls, ParametersAreTheNetworksOwn) {
  const Floats image(36, 1.0f);
  write(network_.value(2), Floats(48));
  write(network_.value(3), {1, 2, 3});
  EXPECT_EQ((Floats{1, 2, 3}), network_.forward(image));
  adn_tensor* second = nullptr;
  check(adn_network_get_parameter(&second, nullptr, nullptr, network_.get(), 3));
  const Tensor bias(second);
  check(adn_tensor_fill(bias.get(), 4));
  EXPECT_EQ((Floats{4, 4, 4}), network_.forward(image)) << "a packed copy of the old parameters was used";
  EXPECT_EQ((Floats{4, 4, 4}), read(network_.value(3)));

  // A gradient that is written is what the optimizer uses.
  const OptimizerHandle optimizer = make_optimizer(context_.get(), network_);
  for (uint64_t i = 0; i < network_.parameter_count(); ++i) {
    check(adn_tensor_fill(network_.gradient(i), 0));
  }
  write(network_.gradient(3), {1, 0, 0});
  check(adn_adadelta_step(optimizer.get()));
  const Floats after = network_.forward(image);
  EXPECT_LT(after[0], 4);
  EXPECT_EQ(4, after[1]);
}

TEST_F(NetworkCalls, InfoSaysWhatWasPlanned) {
  const adn_network_info& info = network_.info();
  EXPECT_EQ(5u, info.layer_count);
  EXPECT_EQ(6u, info.input_shape[1]);
  EXPECT_EQ(3u, info.output_count);
  EXPECT_EQ(4u, info.max_batch_size);
  EXPECT_EQ(4u, info.parameter_count);
  EXPECT_EQ(ADN_REDUCTION_MEAN, info.reduction);
  // At least the parameters and their gradients.
  EXPECT_GE(info.memory_bytes, 2 * 4 * (36u + 4 + 48 + 3));
}

}  // namespace
}  // namespace adadelta::test
