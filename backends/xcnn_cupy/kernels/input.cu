// Batches: bytes made numbers, and images taken by number, cut and mirrored in one go.

KERNEL scale_bytes(const byte_t* x, T* y, index_t n) {
    for (index_t i = first(); i < n; i += step()) put(y + i, (REAL)x[i] / 255);
}

DEVICE index_t below(word_t word, index_t n) { return (index_t)word * n >> 32; }

// y[b] is image index[b], cut out of itself with a border of zeros, then mirrored: xcnn/data/augment.py. The
// images lie anyhow, an element further along n, c, h, w by sn, sc, sh, sw; y is (n, h, w, c) in memory.
template <class U>
DEVICE void gather(const U* images, index_t sn, index_t sc, index_t sh, index_t sw, const index_t* index, U* y,
                   index_t n, int c, int h, int w, word_t epoch, word_t layer, int padding, word_t crop0,
                   word_t crop1, int horizontal, int vertical, word_t flip0, word_t flip1) {
    const int size = c * h * w;
    for (index_t b = first_row(); b < n; b += row_step()) {
        const index_t image = index[b];
        const Words crop = philox((word_t)image, epoch, layer, 0, crop0, crop1);
        const Words flip = philox((word_t)image, epoch, layer, 0, flip0, flip1);
        const int down = (int)below(crop.c[0], 2 * padding + 1) - padding;
        const int across = (int)below(crop.c[1], 2 * padding + 1) - padding;
        const bool mirrored = horizontal && below(flip.c[0], 2), upended = vertical && below(flip.c[1], 2);
        for (index_t i = first(); i < size; i += step()) {
            const int place = (int)i, channel = place % c, column = place / c % w, row = place / c / w;
            const int r = (upended ? h - 1 - row : row) + down;
            const int s = (mirrored ? w - 1 - column : column) + across;
            const bool inside = r >= 0 && r < h && s >= 0 && s < w;
            y[b * size + i] = inside ? images[image * sn + channel * sc + r * sh + s * sw] : U{};
        }
    }
}

KERNEL gather_numbers(const T* images, index_t sn, index_t sc, index_t sh, index_t sw, const index_t* index, T* y,
                      index_t n, int c, int h, int w, word_t epoch, word_t layer, int padding, word_t crop0,
                      word_t crop1, int horizontal, int vertical, word_t flip0, word_t flip1) {
    gather(images, sn, sc, sh, sw, index, y, n, c, h, w, epoch, layer, padding, crop0, crop1, horizontal,
           vertical, flip0, flip1);
}

KERNEL gather_bytes(const byte_t* images, index_t sn, index_t sc, index_t sh, index_t sw, const index_t* index,
                    byte_t* y, index_t n, int c, int h, int w, word_t epoch, word_t layer, int padding,
                    word_t crop0, word_t crop1, int horizontal, int vertical, word_t flip0, word_t flip1) {
    gather(images, sn, sc, sh, sw, index, y, n, c, h, w, epoch, layer, padding, crop0, crop1, horizontal,
           vertical, flip0, flip1);
}
