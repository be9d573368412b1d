#include "cpu/adadelta.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/tensor.h"

namespace adn::cpu {
namespace {

// The pieces are taken as one long row, cut every kChunk elements, so that threads share many small tensors and one large
// one alike.
constexpr uint64_t kChunk = 16 * 1024;

uint64_t end_of(const adn_adadelta_piece& piece) { return piece.start + piece.count; }

void* at(void* data, uint64_t index, uint64_t size) {
  return data == nullptr ? nullptr : static_cast<unsigned char*>(data) + index * size;
}

AdadeltaRun part_of(const adn_adadelta_piece& piece, uint64_t first, uint64_t count) {
  const uint64_t size = dtype_size(piece.dtype), state = std::max<uint64_t>(size, sizeof(float));
  return {at(piece.p, first, size),
          at(piece.g, first, size),
          at(piece.v, first, state),
          at(piece.u, first, state),
          at(piece.master, first, state),
          at(piece.average, first, state),
          static_cast<int64_t>(count),
          piece.dtype,
          false,
          false};
}

}  // namespace

AdadeltaGroupNumbers group_numbers(const adn_adadelta_group& group, double lr, double gradient_scale,
                                   double clip_factor) {
  return {adadelta_numbers<float>(group, lr, gradient_scale, clip_factor),
          adadelta_numbers<double>(group, lr, gradient_scale, clip_factor)};
}

// Calls body(chunk, run, piece) for every part of every piece that has a gradient; the parts of a chunk in order.
template <class Body>
void Adadelta::for_chunks(uint64_t first_piece, uint64_t last_piece, const Body& body) {
  const uint64_t begin = pieces_[first_piece].start, end = end_of(pieces_[last_piece - 1]);
  pool_.run(static_cast<int64_t>((end - begin + kChunk - 1) / kChunk), [&](int64_t chunk, uint32_t) {
    uint64_t place = begin + static_cast<uint64_t>(chunk) * kChunk;
    const uint64_t stop = std::min(end, place + kChunk);
    const adn_adadelta_piece* piece =
        std::upper_bound(pieces_ + first_piece, pieces_ + last_piece, place,
                         [](uint64_t p, const adn_adadelta_piece& x) { return p < x.start; }) -
        1;
    for (; place < stop; ++piece) {
      const uint64_t first = place - piece->start, count = std::min(stop - place, piece->count - first);
      if (piece->g != nullptr) body(chunk, part_of(*piece, first, count), *piece);
      place += count;
    }
  });
}

void Adadelta::prepare(const adn_adadelta_piece* pieces, uint64_t piece_count, uint64_t group_count) {
  const uint64_t elements = piece_count == 0 ? 0 : end_of(pieces[piece_count - 1]);
  numbers_.resize(group_count);
  chunks_.resize((elements + kChunk - 1) / kChunk);
  pieces_ = pieces;
  piece_count_ = piece_count;
}

void Adadelta::set_numbers(const adn_adadelta_pass& pass, double clip_factor) {
  for (uint64_t i = 0; i < pass.group_count; ++i) {
    numbers_[i] = group_numbers(pass.groups[i], adadelta_lr(pass.groups[i]), pass.gradient_scale, clip_factor);
  }
}

// The norm of all gradients and whether they are finite: sums by lane within a chunk, then over lanes, then over chunks.
void Adadelta::measure(const adn_adadelta_pass& pass) {
  std::fill(chunks_.begin(), chunks_.end(), Chunk{0, true});
  for_chunks(0, piece_count_, [&](int64_t chunk, const AdadeltaRun& run, const adn_adadelta_piece& piece) {
    double sums[kNormLanes] = {};
    Chunk& c = chunks_[static_cast<size_t>(chunk)];
    if (!kernels_.adadelta_norm(sums, run, numbers_[piece.group])) c.finite = false;
    for (double sum : sums) c.sum += sum;
  });
  double sum = 0;
  for (const Chunk& chunk : chunks_) {
    sum += chunk.sum;
    if (!chunk.finite && pass.skip_nonfinite != 0) result_.nonfinite = 1;
  }
  if (std::isfinite(pass.clip_norm)) result_.norm = std::sqrt(sum);
}

void Adadelta::update(const adn_adadelta_pass& pass, bool clip) {
  const auto run = [&](uint64_t first, uint64_t last) {
    for_chunks(first, last, [&](int64_t, AdadeltaRun part, const adn_adadelta_piece& piece) {
      part.clip = clip || std::isfinite(pass.groups[piece.group].clip_value);
      part.zero = pass.zero_gradients != 0;
      kernels_.adadelta(part, numbers_[piece.group]);
    });
  };
  // A piece of a group that goes tensor by tensor is a pass of its own; the others between two such go together.
  for (uint64_t first = 0; first < piece_count_;) {
    uint64_t last = first + 1;
    if (pass.groups[pieces_[first].group].tensor_by_tensor == 0) {
      while (last < piece_count_ && pass.groups[pieces_[last].group].tensor_by_tensor == 0) ++last;
    }
    run(first, last);
    first = last;
  }
  for (uint64_t i = 0; i < piece_count_; ++i) {
    if (pieces_[i].g != nullptr) ++*pieces_[i].step;
  }
}

void Adadelta::step(const adn_adadelta_pass& pass) {
  result_ = {};
  if (piece_count_ == 0) return;
  set_numbers(pass, 1.0);
  bool clip = pass.gradient_scale != 1.0;
  if (std::isfinite(pass.clip_norm) || pass.skip_nonfinite != 0) {
    measure(pass);
    if (result_.nonfinite != 0) {
      if (pass.zero_gradients != 0) {
        for_chunks(0, piece_count_, [&](int64_t, const AdadeltaRun& part, const adn_adadelta_piece& piece) {
          std::memset(part.g, 0, static_cast<uint64_t>(part.count) * dtype_size(piece.dtype));
        });
      }
      return;
    }
    if (std::isfinite(pass.clip_norm)) {
      set_numbers(pass, adadelta_clip_factor(pass.clip_norm, result_.norm));
      clip = true;
    }
  }
  update(pass, clip);
}

}  // namespace adn::cpu
