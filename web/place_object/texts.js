// The words of the widget in the language of the editor, from locales/<language>/main.json.

import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

let languages = {}; // of all packs, as ComfyUI serves them

export async function loadTexts() {
  try {
    languages = await api.getCustomNodesI18n();
  } catch (error) {
    console.warn("DeepBlend: the texts of the placement widget cannot be loaded", error);
  }
}

/** A text by its name, with values for what stands in braces in it; English where the language has none. */
export function text(name, values = {}) {
  const texts = [app.extensionManager?.setting.get("Comfy.Locale"), "en"].map((each) => languages[each]?.deepblendPlacement);
  const found = texts.find((each) => each?.[name])?.[name] ?? name;
  return found.replace(/\{(\w+)\}/g, (_, key) => values[key]);
}
