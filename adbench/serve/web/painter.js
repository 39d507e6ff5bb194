// The painted mask: one bit per pixel of the image, strokes with a round brush, and undo.

const UNDONE = 2 ** 27; // bytes of masks that undo keeps, and at least five of them
const COLOUR = [64, 255, 96]; // no colour of inferno

export class Painter {
  constructor(changed) {
    this.changed = changed;
    this.tool = null; // "paint", "erase" or null
    this.size = 8;
    this.stages = [];
    this.drawn = 0; // how often the mask was drawn: another number, another mask
    this.start(1, 1);
  }

  get active() {
    return this.tool !== null;
  }

  get empty() {
    return !this.mask.includes(1);
  }

  start(width, height) {
    [this.width, this.height] = [width, height];
    this.mask = new Uint8Array(width * height);
    this.before = [];
    this.last = null;
    this.cursor = [0.5, 0.5];
    this.draw();
  }

  remember() {
    this.before.push(this.mask.slice());
    if (this.before.length > Math.max(5, UNDONE / this.mask.length)) this.before.shift();
  }

  undo() {
    if (!this.before.length) return;
    this.mask = this.before.pop();
    this.draw();
    this.changed();
  }

  replace(mask) {
    this.remember();
    this.mask = mask;
    this.draw();
    this.changed();
  }

  // x, y: shares of the image.
  begin(x, y) {
    this.remember();
    this.last = null;
    this.move(x, y);
  }

  move(x, y) {
    const to = [x * this.width, y * this.height];
    const from = this.last ?? to;
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(0.5, this.size / 4)));
    for (let i = 1; i <= steps; i += 1) {
      this.dot(from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps);
    }
    const reach = this.size / 2 + 1;
    const [left, right] = [Math.min(from[0], to[0]) - reach, Math.max(from[0], to[0]) + reach];
    const [top, bottom] = [Math.min(from[1], to[1]) - reach, Math.max(from[1], to[1]) + reach];
    this.last = to;
    this.draw(left, top, right, bottom);
  }

  end() {
    if (this.last === null) return;
    this.last = null;
    this.changed();
  }

  dot(x, y) {
    const radius = this.size / 2;
    const value = this.tool === "erase" ? 0 : 1;
    for (let row = Math.max(0, Math.floor(y - radius)); row <= Math.min(this.height - 1, y + radius); row += 1) {
      for (let column = Math.max(0, Math.floor(x - radius)); column <= Math.min(this.width - 1, x + radius); column += 1) {
        if (Math.hypot(column + 0.5 - x, row + 0.5 - y) <= Math.max(radius, 0.71)) this.mask[row * this.width + column] = value;
      }
    }
  }

  // The keyboard's brush: moves by a step of its size, and paints one dot.
  step(dx, dy) {
    const clamp = (value) => Math.max(0, Math.min(1, value));
    this.cursor = [clamp(this.cursor[0] + (dx * this.size) / 2 / this.width), clamp(this.cursor[1] + (dy * this.size) / 2 / this.height)];
    this.draw();
  }

  stamp() {
    this.begin(...this.cursor);
    this.end();
  }

  // Draws the mask, or the part of it that has changed.
  draw(left = 0, top = 0, right = this.width, bottom = this.height) {
    this.drawn += 1;
    const [x, y] = [Math.max(0, Math.floor(left)), Math.max(0, Math.floor(top))];
    const [width, height] = [Math.min(this.width, Math.ceil(right)) - x, Math.min(this.height, Math.ceil(bottom)) - y];
    if (width <= 0 || height <= 0) return;
    const pixels = new ImageData(width, height);
    const words = new Uint32Array(pixels.data.buffer);
    const colour = (130 << 24) | (COLOUR[2] << 16) | (COLOUR[1] << 8) | COLOUR[0];
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1) {
        if (this.mask[(y + row) * this.width + x + column]) words[row * width + column] = colour;
      }
    }
    for (const { painted, brush } of this.stages) {
      if (painted.width === this.width && painted.height === this.height) painted.getContext("2d").putImageData(pixels, x, y);
      const wide = (100 * this.size) / this.width;
      const high = (100 * this.size) / this.height;
      Object.assign(brush.style, {
        left: `${100 * this.cursor[0] - wide / 2}%`, top: `${100 * this.cursor[1] - high / 2}%`, width: `${wide}%`, height: `${high}%`,
      });
    }
  }

  // A PNG whose opaque pixels are the mask; "" where nothing is painted.
  png() {
    if (this.empty) return "";
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.width, this.height];
    const pixels = new ImageData(this.width, this.height);
    new Uint32Array(pixels.data.buffer).set(Uint32Array.from(this.mask, (one) => (one ? 0xffffffff : 0)));
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas.toDataURL("image/png");
  }
}
