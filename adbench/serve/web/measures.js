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

// How many pixels of a mask, and how many in all, lie in each pixel of a map: `sampled` the other way round.
export function binned(mask, side, width, height) {
  const positive = new Float64Array(side * side);
  const total = new Float64Array(side * side);
  for (let y = 0; y < height; y += 1) {
    const row = Math.min(side - 1, Math.floor(((y + 0.5) * side) / height)) * side;
    for (let x = 0; x < width; x += 1) {
      const at = row + Math.min(side - 1, Math.floor(((x + 0.5) * side) / width));
      total[at] += 1;
      positive[at] += mask[y * width + x];
    }
  }
  return { positive, total };
}

// 2 |A and B| / (|A| + |B|), of the mask and the pixels that reach the threshold; null where both are empty.
export function dice(map, { positive, total }, threshold) {
  let both = 0;
  let sum = 0;
  for (let i = 0; i < map.length; i += 1) {
    sum += positive[i];
    if (map[i] >= threshold) {
      both += positive[i];
      sum += total[i];
    }
  }
  return sum ? (2 * both) / sum : null;
}

// The chance that an abnormal pixel has a higher value than a normal one; ties count half. Null without both kinds.
export function auroc(map, { positive, total }) {
  const order = Uint32Array.from(map.keys()).sort((a, b) => map[a] - map[b]);
  let [won, abnormal, normal] = [0, 0, 0];
  for (let i = 0; i < order.length; ) {
    let [here, others] = [0, 0];
    for (const value = map[order[i]]; i < order.length && map[order[i]] === value; i += 1) {
      here += positive[order[i]];
      others += total[order[i]] - positive[order[i]];
    }
    won += here * (normal + others / 2);
    abnormal += here;
    normal += others;
  }
  return abnormal && normal ? won / (abnormal * normal) : null;
}

// The share of `scores` below a score.
export function below(scores, score) {
  return scores.filter((one) => one < score).length / scores.length;
}
