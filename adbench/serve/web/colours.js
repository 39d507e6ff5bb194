// Colour maps: 256 steps of RGB, and the painting of a float map with them.

export class Palette {
  constructor(numbers) {
    this.bytes = Uint8ClampedArray.from(numbers);
    this.words = new Uint32Array(256);
    for (let i = 0; i < 256; i += 1) {
      const [r, g, b] = this.bytes.subarray(3 * i, 3 * i + 3);
      this.words[i] = (255 << 24) | (b << 16) | (g << 8) | r; // little-endian RGBA
    }
  }
}

// A map (side x side) as it is coloured: what doesn't change with the threshold is computed once.
export class Heat {
  constructor(map, side) {
    this.map = map;
    this.side = side;
    this.pixels = new ImageData(side, side);
    this.words = new Uint32Array(this.pixels.data.buffer);
    this.steps = new Uint8ClampedArray(map.length);
  }

  // The step of the palette of each value.
  scale(low, high) {
    if (this.low === low && this.high === high) return;
    [this.low, this.high] = [low, high];
    const factor = 255 / Math.max(high - low, 1e-12);
    for (let i = 0; i < this.map.length; i += 1) this.steps[i] = (this.map[i] - low) * factor;
  }

  // Colours a canvas of the map's resolution; what lies below the threshold is left clear.
  colour(canvas, palette, low, high, threshold) {
    const { map, side, words, steps } = this;
    this.scale(low, high);
    if (canvas.width !== side) canvas.width = canvas.height = side;
    for (let i = 0; i < map.length; i += 1) words[i] = map[i] >= threshold ? palette.words[steps[i]] : 0;
    canvas.getContext("2d").putImageData(this.pixels, 0, 0);
  }
}

export function bar(canvas, palette) {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(256, 1);
  new Uint32Array(pixels.data.buffer).set(palette.words);
  context.putImageData(pixels, 0, 0);
}

// The outline of a mask given as the alpha or red channel of a picture: its pixels with a neighbour outside.
export function outlined(mask, width, height, [r, g, b], thick = 1) {
  const pixels = new ImageData(width, height);
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (!mask[y * width + x]) continue;
      if (inside(x - thick, y) && inside(x + thick, y) && inside(x, y - thick) && inside(x, y + thick)) continue;
      pixels.data.set([r, g, b, 255], 4 * (y * width + x));
    }
  }
  return pixels;
}
