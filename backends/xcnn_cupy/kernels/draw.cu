// Random words by number: what augmentation draws for each image.

// Word j of the counter (index[i], step, layer, use) is words[j n + i].
KERNEL draw(const index_t* index, index_t* words, index_t n, word_t step_number, word_t layer, word_t use, word_t k0,
            word_t k1) {
    for (index_t i = first(); i < n; i += step()) {
        const Words drawn = philox((word_t)index[i], step_number, layer, use, k0, k1);
        for (int j = 0; j < 4; j++) words[j * n + i] = drawn.c[j];
    }
}
