// The form of a noun that goes with a number: "1 reading", "0 readings", "2 readings".

export const plural = (number, one, many) => (number === 1 ? one : many);
