// Data sets of the C ABI.
#include "abi/objects.h"

using namespace adn;

namespace {

adn_status create(adn_dataset** dataset, adn_context* context, const uint8_t* pixels, uint64_t pixel_count,
                  const uint8_t* labels, uint64_t count, const uint64_t* shape, bool external) {
  return guard([&] {
    require(dataset, "dataset");
    require(context, "context");
    require(shape, "shape");
    if (count == 0 || count > UINT32_MAX) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "count: %llu, expected 1 <= count <= 4294967295",
           static_cast<unsigned long long>(count));
    }
    uint64_t expected = count;
    for (int i = 0; i < 3; ++i) {
      if (shape[i] == 0 || shape[i] > (uint64_t{1} << 60) / expected) {
        fail(ADN_STATUS_INVALID_ARGUMENT, "shape[%d]: %llu, expected >= 1 and at most 2^60 bytes in all", i,
             static_cast<unsigned long long>(shape[i]));
      }
      expected *= shape[i];
    }
    if (pixel_count != expected) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "pixel_count: %llu, expected %llu, %llu images of shape %s",
           static_cast<unsigned long long>(pixel_count), static_cast<unsigned long long>(expected),
           static_cast<unsigned long long>(count), ShapeText(shape, 3).text);
    }
    require(pixels, "pixels");
    require(labels, "labels");
    *dataset = new adn_dataset{{context->impl, pixels, labels, count, shape, external}};
  });
}

}  // namespace

extern "C" {

adn_status adn_dataset_create(adn_dataset** dataset, adn_context* context, const uint8_t* pixels, uint64_t pixel_count,
                              const uint8_t* labels, uint64_t count, const uint64_t* shape) noexcept {
  return create(dataset, context, pixels, pixel_count, labels, count, shape, false);
}

adn_status adn_dataset_create_external(adn_dataset** dataset, adn_context* context, const uint8_t* pixels,
                                       uint64_t pixel_count, const uint8_t* labels, uint64_t count,
                                       const uint64_t* shape) noexcept {
  return create(dataset, context, pixels, pixel_count, labels, count, shape, true);
}

void adn_dataset_destroy(adn_dataset* dataset) noexcept { delete dataset; }

}  // extern "C"
