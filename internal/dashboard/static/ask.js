// The dialog that asks before anything is done.

import { by, el } from './format.js';

const dialog = by('ask');
let doing = null;

// ask shows what is about to be done, with fields to fill in, and does it when that is
// confirmed: act gets the values, and its error is shown in the dialog.
export function ask({ title, what, fields = [], yes, danger = false, act }) {
  const back = document.activeElement;
  by('ask-h').textContent = title;
  by('ask-what').textContent = what;
  by('ask-error').textContent = '';
  const inputs = fields.map(f => {
    const input = el(f.long ? 'textarea' : 'input', { id: 'ask-' + f.name, name: f.name, rows: f.long ? 4 : null, maxlength: f.most ?? null, autocomplete: 'off', spellcheck: 'false', required: f.required, inputmode: f.number ? 'numeric' : null, placeholder: f.hint });
    input.value = f.value ?? '';
    return [f.name, input, el('label', { for: 'ask-' + f.name }, f.label)];
  });
  by('ask-fields').replaceChildren(...inputs.flatMap(([, input, label]) => [label, input]));
  const button = by('ask-yes');
  button.textContent = yes;
  button.className = danger ? 'danger' : '';
  button.disabled = false;
  doing = async () => {
    button.disabled = true;
    try {
      await act(Object.fromEntries(inputs.map(([name, input]) => [name, input.value])));
      dialog.close();
    } catch (err) {
      by('ask-error').textContent = err.message;
    }
    button.disabled = false;
  };
  dialog.onclose = () => {
    if (dialog.open) return; // it is of the time before: the event comes late, and it was opened again
    doing = null;
    if (back?.isConnected) back.focus();
  };
  dialog.showModal();
  (inputs[0]?.[1] ?? by('ask-no')).focus();
}

by('ask-form').addEventListener('submit', e => { e.preventDefault(); doing?.(); });
by('ask-no').addEventListener('click', () => dialog.close());

let fading = 0;
// toast says that something was done.
export function toast(text) {
  by('toast').textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => { by('toast').textContent = ''; }, 6000);
}
