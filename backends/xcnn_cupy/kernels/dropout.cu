// Dropout whose mask is a function of the seed and the place alone.

// y = x / keep where the word of the element is below `limit`, and 0 x elsewhere. Word 4 i + j is word j of
// block i of the stream; elements are counted along n, c, p, wherever they lie: p is the place in a plane,
// and memory is (n, p, c). A thread takes one block of four words, so c is what neighbouring threads differ
// in.
KERNEL dropout(const T* x, T* y, index_t n, index_t c, index_t plane, REAL keep, index_t limit, word_t k0,
               word_t k1, word_t number, const index_t* number_at, word_t layer, word_t use) {
    const REAL scale = (REAL)1 / keep;
    const word_t at = number_at ? (word_t)*number_at : number;
    const index_t quads = (plane + 6) / 4;  // of which a plane has a part, wherever it starts
    for (index_t i = first(); i < n * quads * c; i += step()) {
        const index_t channel = i % c, image = i / c / quads;
        const index_t start = (image * c + channel) * plane, block = start / 4 + i / c % quads;
        if (4 * block >= start + plane) continue;
        const Words words = philox((word_t)block, at, layer, use, k0, k1);
        for (int j = 0; j < 4; j++) {
            const index_t p = 4 * block + j - start;
            if (p < 0 || p >= plane) continue;
            const index_t k = (image * plane + p) * c + channel;
            put(y + k, value(x[k]) * ((index_t)words.c[j] < limit ? scale : (REAL)0));
        }
    }
}
