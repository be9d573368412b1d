#include "cuda/optimizer.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace adn::cuda {
namespace {

// Passes that may wait for the device while the host prepares the next.
constexpr size_t kPassSlots = 8;

}  // namespace

bool Optimizer::Launch::operator==(const Launch& other) const {
  return tables.pieces == other.tables.pieces && tables.chunks == other.tables.chunks &&
         tables.chunk_count == other.tables.chunk_count && tables.pass == other.tables.pass &&
         tables.state == other.tables.state && tables.parts == other.tables.parts && measure == other.measure;
}

Optimizer::Optimizer(Device& device) : device_(device), state_(device, sizeof(AdadeltaState)) {
  device_.clear(state_.as<void>(), state_.bytes());
  launch_.tables.state = state_.as<AdadeltaState>();
}

void Optimizer::prepare(const adn_adadelta_piece* pieces, uint64_t piece_count, uint64_t group_count) {
  // Room for the case that every piece has a gradient, so that it is enough whichever of them come and go.
  std::vector<adn_adadelta_piece> whole(pieces, pieces + piece_count);
  for (adn_adadelta_piece& piece : whole) piece.g = piece.p;
  const uint64_t chunk_room = adadelta_chunk_count(whole.data(), piece_count);
  if (chunk_room > 0x7FFFFFFF) {
    fail(ADN_STATUS_UNSUPPORTED, "parameters: %llu chunks of %llu elements, expected less than 2^31 on CUDA",
         static_cast<unsigned long long>(chunk_room), static_cast<unsigned long long>(kAdadeltaChunk));
  }
  std::vector<AdadeltaChunk> chunks(adadelta_chunk_count(pieces, piece_count));
  adadelta_chunks(chunks.data(), pieces, piece_count);

  if (piece_count > piece_room_ || chunk_room > chunk_room_ || group_count > group_room_) {
    Memory new_pieces(device_, piece_count * sizeof(adn_adadelta_piece));
    Memory new_chunks(device_, chunk_room * sizeof(AdadeltaChunk));
    Memory new_parts(device_, chunk_room * sizeof(AdadeltaPart));
    const uint64_t pass_bytes = sizeof(adn_adadelta_pass) + group_count * sizeof(adn_adadelta_group);
    Memory new_pass(device_, pass_bytes);
    auto new_staging = std::make_unique<Staging>(device_, pass_bytes, kPassSlots);
    std::vector<unsigned char> new_next;
    new_next.reserve(pass_bytes);
    std::vector<unsigned char> new_uploaded;
    new_uploaded.reserve(pass_bytes);
    // Copies out of the former staging memory may still be going on.
    if (staging_) device_.synchronize();
    pieces_ = std::move(new_pieces);
    chunks_ = std::move(new_chunks);
    parts_ = std::move(new_parts);
    pass_ = std::move(new_pass);
    staging_ = std::move(new_staging);
    next_ = std::move(new_next);
    uploaded_ = std::move(new_uploaded);
    piece_room_ = piece_count;
    chunk_room_ = chunk_room;
    group_room_ = group_count;
  }
  device_.write(pieces_.as<void>(), pieces, piece_count * sizeof *pieces);
  device_.write(chunks_.as<void>(), chunks.data(), chunks.size() * sizeof chunks[0]);
  launch_.tables = {pieces_.as<adn_adadelta_piece>(), chunks_.as<AdadeltaChunk>(), chunks.size(),
                    pass_.as<adn_adadelta_pass>(),    state_.as<AdadeltaState>(),  parts_.as<AdadeltaPart>()};
}

void Optimizer::upload(const adn_adadelta_pass& pass) {
  launch_.measure = adadelta_measures(pass);
  if (launch_.tables.chunk_count == 0) return;
  const uint64_t group_bytes = pass.group_count * sizeof(adn_adadelta_group);
  adn_adadelta_pass there = pass;
  there.groups = reinterpret_cast<const adn_adadelta_group*>(pass_.as<adn_adadelta_pass>() + 1);
  next_.resize(sizeof there + group_bytes);
  std::memcpy(next_.data(), &there, sizeof there);
  if (group_bytes != 0) std::memcpy(next_.data() + sizeof there, pass.groups, group_bytes);
  if (next_ == uploaded_) return;
  uploaded_.clear();  // unknown should the upload fail
  staging_->upload(pass_.as<void>(), next_.size(),
                   [&](unsigned char* pinned) { std::memcpy(pinned, next_.data(), next_.size()); });
  std::swap(uploaded_, next_);
}

void Optimizer::launch() {
  if (launch_.tables.chunk_count == 0) {
    device_.clear(state_.as<void>(), state_.bytes());
  } else {
    device_.check_launch(adadelta(device_.stream(), launch_.tables, launch_.measure), "adadelta");
  }
}

adn_adadelta_result Optimizer::result() {
  adn_adadelta_result result = {};
  device_.read(&result, &state_.as<AdadeltaState>()->result, sizeof result);
  return result;
}

void adadelta_vjp(double* lr_bar, Device& device, const adn_adadelta_vjp& vjp, const adn_adadelta_group& group) {
  const Memory sum(device, sizeof *lr_bar), workspace(device, adadelta_vjp_workspace(vjp.count));
  device.write(sum.as<void>(), lr_bar, sizeof *lr_bar);
  device.check_launch(adadelta_vjp(device.stream(), sum.as<double>(), vjp, group, workspace.as<void>()),
                      "adadelta_vjp");
  device.read(lr_bar, sum.as<void>(), sizeof *lr_bar);
}

}  // namespace adn::cuda
