// Networks of the C ABI.
#include <algorithm>
#include <cstdio>

#include "abi/objects.h"
#include "core/options.h"

using namespace adn;

namespace {

adn_layer default_layer(int32_t kind) {
  adn_layer layer = {};
  layer.struct_size = sizeof layer;
  layer.kind = kind;
  for (int i = 0; i < 2; ++i) {
    layer.kernel[i] = layer.dilation[i] = 1;
    layer.stride[i] = kind == ADN_LAYER_MAXPOOL2D || kind == ADN_LAYER_AVGPOOL2D ? 0 : 1;
  }
  layer.probability = 0.5f;
  layer.bias = 1;
  return layer;
}

// The caller's structs may be of another size than ours: theirs is the array's stride.
std::vector<adn_layer> read_layers(const adn_layer* layers, uint64_t count) {
  require(layers, "layers");
  std::vector<adn_layer> list;
  const uint32_t stride = layers->struct_size;
  for (uint64_t i = 0; i < count; ++i) {
    const auto* layer = reinterpret_cast<const adn_layer*>(reinterpret_cast<const char*>(layers) + i * stride);
    char name[32];
    std::snprintf(name, sizeof name, "layers[%llu]", static_cast<unsigned long long>(i));
    if (layer->struct_size != stride) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "%s.struct_size: %u, expected %u, that of layers[0]", name, layer->struct_size,
           stride);
    }
    check_struct_size(stride, name);
    if (stride % alignof(adn_layer) != 0) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "%s.struct_size: %u, expected a multiple of %zu, since it is the array's stride", name, stride,
           alignof(adn_layer));
    }
    list.push_back(read_struct(layer, default_layer(layer->kind), name));
  }
  return list;
}

void check_index(uint64_t index, uint64_t count, const char* what) {
  if (index >= count) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "index: %llu, expected 0 <= index < %llu, the network's %s",
         static_cast<unsigned long long>(index), static_cast<unsigned long long>(count), what);
  }
}

adn_network_options default_network_options() {
  adn_network_options options = {};
  options.struct_size = sizeof options;
  options.max_batch_size = 64;
  return options;
}

}  // namespace

extern "C" {

adn_status adn_layer_init(adn_layer* layer, uint32_t struct_size, int32_t kind) noexcept {
  return guard([&] {
    require(layer, "layer");
    if (layer_kind_name(kind) == nullptr) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "kind: %d, expected 1 <= kind <= %d", kind, ADN_LAYER_DROPOUT);
    }
    write_struct(layer, struct_size, default_layer(kind), "layer");
  });
}

adn_status adn_network_options_init(adn_network_options* options, uint32_t struct_size) noexcept {
  return guard([&] {
    require(options, "options");
    write_struct(options, struct_size, default_network_options(), "options");
  });
}

adn_status adn_network_create(adn_network** network, adn_context* context, const adn_layer* layers,
                              uint64_t layer_count, const adn_network_options* options) noexcept {
  return guard([&] {
    require(network, "network");
    require(context, "context");
    if (layer_count == 0 || layer_count > 10000) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "layer_count: %llu, expected 1 <= layer_count <= 10000",
           static_cast<unsigned long long>(layer_count));
    }
    require(options, "options");
    const adn_network_options known = read_struct(options, default_network_options(), "options");
    *network = new adn_network(context->impl, read_layers(layers, layer_count), known);
  });
}

void adn_network_destroy(adn_network* network) noexcept { delete network; }

adn_status adn_network_clone(adn_network** clone, adn_network* network, uint64_t max_batch_size,
                             int32_t inference) noexcept {
  return guard([&] {
    require(clone, "clone");
    require(network, "network");
    if (inference != 0 && inference != 1) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "inference: %d, expected 0 or 1", inference);
    }
    const uint64_t batch = max_batch_size != 0 ? max_batch_size : network->impl.plan().options.max_batch_size;
    auto made = std::make_unique<adn_network>(network->impl, batch, inference != 0);
    Use use;
    use.add_for_copy(network->impl.use());
    made->impl.copy_parameters(network->impl);
    *clone = made.release();
  });
}

adn_status adn_network_copy_parameters(adn_network* to, adn_network* from) noexcept {
  return guard([&] {
    require(to, "to");
    require(from, "from");
    Use use;
    use.add_for_copy(from->impl.use());
    use.add(to->impl.use(), "to");
    to->impl.copy_parameters(from->impl);
  });
}

adn_status adn_network_get_info(adn_network_info* info, const adn_network* network) noexcept {
  return guard([&] {
    require(info, "info");
    require(network, "network");
    const Plan& plan = network->impl.plan();
    adn_network_info known = {};
    known.layer_count = static_cast<uint32_t>(plan.layers.size());
    std::copy_n(plan.options.input_shape, 3, known.input_shape);
    known.output_count = plan.output.count();
    known.max_batch_size = plan.options.max_batch_size;
    known.parameter_count = plan.parameters.size();
    known.memory_bytes = network->impl.memory_bytes();
    known.reduction = plan.options.reduction;
    write_struct(info, info->struct_size, known, "info");
  });
}

adn_status adn_network_get_layer(adn_layer_info* info, const adn_network* network, uint64_t index) noexcept {
  return guard([&] {
    require(info, "info");
    require(network, "network");
    const Plan& plan = network->impl.plan();
    check_index(index, plan.layers.size(), "layers");
    const PlannedLayer& layer = plan.layers[index];
    adn_layer_info known = {};
    known.kind = layer.spec.kind;
    known.output_shape[0] = layer.output.channels;
    known.output_shape[1] = layer.output.height;
    known.output_shape[2] = layer.output.width;
    known.parameter_elements = layer.parameter_elements;
    std::snprintf(known.name, sizeof known.name, "%s", layer.name.c_str());
    known.has_activation = layer.value >= 0 ? 1 : 0;
    write_struct(info, info->struct_size, known, "info");
  });
}

adn_status adn_network_get_parameter(adn_tensor** value, adn_tensor** gradient, const char** name,
                                     const adn_network* network, uint64_t index) noexcept {
  return guard([&] {
    require(network, "network");
    const Plan& plan = network->impl.plan();
    check_index(index, plan.parameters.size(), "parameters");
    auto v = std::make_unique<adn_tensor>(adn_tensor{network->impl.value(index)});
    std::unique_ptr<adn_tensor> g;
    if (plan.options.inference == 0) g = std::make_unique<adn_tensor>(adn_tensor{network->impl.gradient(index)});
    if (value != nullptr) *value = v.release();
    if (gradient != nullptr) *gradient = g.release();
    if (name != nullptr) *name = plan.parameters[index].name.c_str();
  });
}

adn_status adn_network_find_parameter(uint64_t* index, const adn_network* network, const char* name) noexcept {
  return guard([&] {
    require(index, "index");
    require(network, "network");
    require(name, "name");
    const auto& parameters = network->impl.plan().parameters;
    const auto found =
        std::find_if(parameters.begin(), parameters.end(), [&](const PlannedParameter& p) { return p.name == name; });
    if (found == parameters.end()) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "name: \"%s\", expected one of the network's parameters, e.g. \"%s\"", name,
           parameters.empty() ? "(it has none)" : parameters.front().name.c_str());
    }
    *index = static_cast<uint64_t>(found - parameters.begin());
  });
}

adn_status adn_network_forward(float* output, uint64_t output_total, adn_network* network, const float* input,
                               uint64_t input_count, uint64_t batch_size, int32_t mode) noexcept {
  return guard([&] {
    require(network, "network");
    const Use use(network->impl.use(), "network");
    network->impl.forward(output, output_total, network->impl.host_batch(input, input_count, batch_size), mode);
  });
}

adn_status adn_network_forward_dataset(float* output, uint64_t output_total, adn_network* network,
                                       const adn_dataset* dataset, const uint32_t* indices, uint64_t batch_size,
                                       int32_t mode) noexcept {
  return guard([&] {
    require(network, "network");
    const Use use(network->impl.use(), "network");
    require(dataset, "dataset");
    network->impl.forward(output, output_total, network->impl.dataset_batch(dataset->impl, indices, batch_size), mode);
  });
}

adn_status adn_network_forward_external(float* output, uint64_t output_total, adn_network* network,
                                        const float* input_external, uint64_t input_count, uint64_t batch_size,
                                        int32_t mode) noexcept {
  return guard([&] {
    require(network, "network");
    const Use use(network->impl.use(), "network");
    network->impl.forward(output, output_total, network->impl.external_batch(input_external, input_count, batch_size),
                          mode);
  });
}

adn_status adn_network_loss(float* loss, adn_network* network, const int32_t* labels, uint64_t label_count) noexcept {
  return guard([&] {
    require(loss, "loss");
    require(network, "network");
    const Use use(network->impl.use(), "network");
    *loss = network->impl.loss(labels, label_count);
  });
}

adn_status adn_network_backward(adn_network* network, const float* output_gradient,
                                uint64_t output_gradient_count) noexcept {
  return guard([&] {
    require(network, "network");
    const Use use(network->impl.use(), "network");
    network->impl.backward(output_gradient, output_gradient_count);
  });
}

adn_status adn_network_read_input_gradient(float* data, uint64_t count, const adn_network* network) noexcept {
  return guard([&] {
    require(network, "network");
    const Use use(network->impl.use(), "network");
    network->impl.read_input_gradient(data, count);
  });
}

adn_status adn_network_read_activation(float* data, uint64_t count, const adn_network* network,
                                       uint64_t layer_index) noexcept {
  return guard([&] {
    require(network, "network");
    const Use use(network->impl.use(), "network");
    network->impl.read_activation(data, count, layer_index);
  });
}

adn_status adn_network_get_step(uint64_t* step, const adn_network* network) noexcept {
  return guard([&] {
    require(step, "step");
    require(network, "network");
    *step = network->impl.step();
  });
}

adn_status adn_network_set_step(adn_network* network, uint64_t step) noexcept {
  return guard([&] {
    require(network, "network");
    const Use use(network->impl.use(), "network");
    network->impl.set_step(step);
  });
}

adn_status adn_network_train_step(float* loss, adn_network* network, adn_adadelta* optimizer, const float* input,
                                  uint64_t input_count, const int32_t* labels, uint64_t batch_size) noexcept {
  return guard([&] {
    require(network, "network");
    require(optimizer, "optimizer");
    const Use use(network->impl.use(), "network", optimizer->impl.use(), "optimizer");
    Network& n = network->impl;
    n.train_step(loss, optimizer->impl, n.labelled(n.host_batch(input, input_count, batch_size), labels));
  });
}

adn_status adn_network_train_step_dataset(float* loss, adn_network* network, adn_adadelta* optimizer,
                                          const adn_dataset* dataset, const uint32_t* indices,
                                          uint64_t batch_size) noexcept {
  return guard([&] {
    require(network, "network");
    require(optimizer, "optimizer");
    require(dataset, "dataset");
    const Use use(network->impl.use(), "network", optimizer->impl.use(), "optimizer");
    Network& n = network->impl;
    n.train_step(loss, optimizer->impl, n.labelled(n.dataset_batch(dataset->impl, indices, batch_size), dataset->impl));
  });
}

adn_status adn_network_train_step_external(float* loss, adn_network* network, adn_adadelta* optimizer,
                                           const float* input_external, uint64_t input_count, const int32_t* labels,
                                           uint64_t batch_size) noexcept {
  return guard([&] {
    require(network, "network");
    require(optimizer, "optimizer");
    const Use use(network->impl.use(), "network", optimizer->impl.use(), "optimizer");
    Network& n = network->impl;
    n.train_step(loss, optimizer->impl, n.labelled(n.external_batch(input_external, input_count, batch_size), labels));
  });
}

adn_status adn_network_read_losses(float* losses, uint64_t count, const adn_network* network) noexcept {
  return guard([&] {
    require(network, "network");
    const Use use(network->impl.use(), "network");
    network->impl.read_losses(losses, count);
  });
}

}  // extern "C"
