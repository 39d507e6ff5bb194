// Requests to the server that sent this page; what it refuses is a sentence, thrown as an Error.

async function answered(request) {
  let answer;
  try {
    answer = await request;
  } catch {
    throw new Error("adbench serve has ended: start it again in the terminal.");
  }
  const kind = answer.headers.get("content-type") ?? "";
  const content = kind.startsWith("application/json") ? await answer.json() : { error: await answer.text() };
  if (!answer.ok) throw new Error(content.error || `The server answered ${answer.status}.`);
  return content;
}

export const get = (path) => answered(fetch(`api/${path}`));

export const post = (path, content) =>
  answered(
    fetch(`api/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(content),
    }),
  );

// The bound of the server: what is larger is not sent at all.
const MOST = 128 * 2 ** 20;

export const upload = async (file) => {
  if (file.size > MOST) {
    throw new Error(`${file.name} has ${Math.ceil(file.size / 2 ** 20)} MB, more than the ${MOST / 2 ** 20} MB that are taken. Give its folder: --images DIR.`);
  }
  return answered(fetch(`api/images?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file }));
};

export const pictureOf = (key, small = false) => `api/images/${encodeURIComponent(key)}/picture${small ? "?small" : ""}`;

// The picture of an image as a blob; what can't be decoded is a sentence here too.
export async function picture(key) {
  const answer = await fetch(pictureOf(key));
  return answer.ok ? answer.blob() : answered(Promise.resolve(answer));
}

// Maps arrive as 32-bit floats in base64, of the byte order that all browsers' machines have.
export const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
