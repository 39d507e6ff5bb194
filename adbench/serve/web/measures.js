// How well a map agrees with a painted mask, computed here: pure functions of arrays.

// The value of a map (side x side, over the whole image) at each pixel of an image, nearest.
export function sampled(map, side, width, height) {
  const found = new Float32Array(width * height);
  const columns = Int32Array.from({ length: width }, (_, x) => Math.min(side - 1, Math.floor(((x + 0.5) * side) / width)));
  for (let y = 0; y < height; y += 1) {
    const row = Math.min(side - 1, Math.floor(((y + 0.5) * side) / height)) * side;
    for (let x = 0; x < width; x += 1) found[y * width + x] = map[row + columns[x]];
  }
  return found;
}

// 2 |A and B| / (|A| + |B|), of the mask and the pixels that reach the threshold.
export function dice(values, mask, threshold) {
  let both = 0;
  let sum = 0;
  for (let i = 0; i < values.length; i += 1) {
    const called = values[i] >= threshold;
    both += called && mask[i] ? 1 : 0;
    sum += (called ? 1 : 0) + (mask[i] ? 1 : 0);
  }
  return sum ? (2 * both) / sum : null;
}

// The chance that an abnormal pixel has a higher value than a normal one; ties count half. Null without both kinds.
export function auroc(values, mask) {
  const order = Uint32Array.from(values.keys()).sort((a, b) => values[a] - values[b]);
  let ranks = 0;
  let positive = 0;
  for (let i = 0; i < order.length; ) {
    let j = i;
    let here = 0;
    while (j < order.length && values[order[j]] === values[order[i]]) {
      here += mask[order[j]] ? 1 : 0;
      j += 1;
    }
    ranks += (here * (i + 1 + j)) / 2;
    positive += here;
    i = j;
  }
  const negative = order.length - positive;
  return positive && negative ? (ranks - (positive * (positive + 1)) / 2) / (positive * negative) : null;
}

// The share of `scores` below a score.
export function below(scores, score) {
  return scores.filter((one) => one < score).length / scores.length;
}
